"""A few small images, their classes, and where a batch of them stands in a training."""

import torch

from orchestration.training_batches import Labels

IMAGES = torch.randint(
    256, (21, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
BATCH = {
    "seed": 3,
    "batch_size": 12,
    "widths": (1.0, 0.75, 0.5, 0.25),
    "num_train_timesteps": 1000,
}


def classes(dropout=0.1):
    return Labels(torch.arange(len(IMAGES)) % 7, 7, dropout)
