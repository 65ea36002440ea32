"""The known priors as tables, from their cards alone.

.venv/bin/python benchmarks/priors.py
"""

from tomopilot.prior.checkpoint import prior_folders, read_card


def numbers(values) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


cards = {name: read_card(folder) for name, folder in prior_folders().items()}
head = "prior", "views", "loss", "linear denoiser", "likeness", "of held-out slices", "licence of its data"
print("|", " | ".join(head), "|")
print("|", " | ".join("---" for _ in head), "|")
for name, card in cards.items():
    losses = f"{card['validation_loss']:.3f} | {card['linear_denoiser_loss']:.3f}"
    likeness = card["likeness_to_training"]
    print(
        f"| {name} | {card['images_seen']:,} | {losses} | {numbers(likeness['samples'])} "
        f"| {numbers(likeness['validation'])} | {card['licence']} |"
    )
levels = list(next(iter(cards.values()))["validation_mse"])
print("\nRoot mean squared error of the denoised image over the linear denoiser's, by noise level:\n")
print("| prior |", " | ".join(levels), "|")
print("| --- |", " | ".join("---" for _ in levels), "|")
for name, card in cards.items():
    ours, linear = card["validation_mse"], card["linear_denoiser_mse"]
    print(f"| {name} |", " | ".join(f"{(ours[at] / linear[at]) ** 0.5:.2f}" for at in levels), "|")
