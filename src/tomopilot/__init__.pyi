__version__: str

from .experiment import Experiment as Experiment, Snapshot as Snapshot, run as run  # noqa: I001
from .records import Data as Data, Decision as Decision, Draws as Draws, Forecast as Forecast
from .records import Observation as Observation, Step as Step, Told as Told
from .measure.operator import Operator as Operator
from .measure.radon import Radon as Radon, half_turn as half_turn
from .measure.fan import Fan as Fan, full_turn as full_turn
from .measure.laminography import Laminography as Laminography
from .measure.backprojection import filtered_backprojection as filtered_backprojection
from .measure.fourier import Fourier as Fourier
from .measure.stack import Stack as Stack
from .measure.noise import Gaussian as Gaussian, Masked as Masked, Noise as Noise, Poisson as Poisson
from .prior.denoiser import Denoiser as Denoiser, GaussianPrior as GaussianPrior
from .prior.checkpoint import load_prior as load_prior, save_prior as save_prior
from .prior.schedule import ddpm as ddpm, logarithmic as logarithmic
from .posterior.posterior import Guidance as Guidance, Posterior as Posterior
from .posterior.diffusion import DiffusionPosterior as DiffusionPosterior
from .posterior.guidance.soft import Soft as Soft
from .posterior.guidance.hard import Hard as Hard
from .posterior.guidance.dps import DPS as DPS
from .posterior.guidance.prox import Prox as Prox
from .posterior.guidance.inpaint import Inpaint as Inpaint
from .posterior.classical import FilteredBackProjection as FilteredBackProjection
from .posterior.classical import TotalVariation as TotalVariation, ZeroFilled as ZeroFilled
from .posterior.slicewise import Slicewise as Slicewise
from .design.policy import Choice as Choice, Greedy as Greedy, InOrder as InOrder, Policy as Policy
from .design.policy import bisect_order as bisect_order, centre_order as centre_order
from .design.acquisition import variance as variance, committee as committee, carried as carried
from .design.acquisition import LogDet as LogDet, AOptimal as AOptimal
from .design.stopping import budget as budget, certain as certain
from .simulate.instrument import Simulated as Simulated
from .raw.door import read_measured as read_measured
from .raw.correction import Correction as Correction
