#!/bin/sh
# diffusers 0.42.1: `output_type="latent"` means two things in the two FLUX.2 pipelines.
#
# `Flux2Pipeline` gives the latents as the transformer leaves them: packed, one row per 2 x 2 patch ([B, L, C]), normalised by
# the autoencoder's batch statistics. `Flux2KleinPipeline`, the same model family with the same autoencoder class, gives them
# as the decoder takes them: unpacked, denormalised, patches undone ([B, C / 4, H, W]). A program that fetches latents to
# decode, save or train on has to treat the two apart, and the second pipeline's latents can't be told to be normalised or
# not from their shape alone.
#
# Seen with Python 3.11.7, torch 2.13.0, tiny random models and the same autoencoder, 32 x 32 pixels:
#     Flux2Pipeline: (1, 64, 16)
#     Flux2KleinPipeline: (1, 4, 16, 16)
#
# Fails (1) if both have the same form. Needs python3 and pip's package index; takes two minutes.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.23.0

cat > "$folder/program.py" <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import diffusers
import torch

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()


def parts(guidance):
    torch.manual_seed(0)
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=guidance,
    )
    vae = diffusers.AutoencoderKLFlux2(
        sample_size=32, block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=1,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return {"scheduler": scheduler, "vae": vae, "transformer": transformer, "text_encoder": None, "tokenizer": None}


shapes = []
for pipeline, guidance in ((diffusers.Flux2Pipeline, True), (diffusers.Flux2KleinPipeline, False)):
    made = pipeline(**parts(guidance))
    made.set_progress_bar_config(disable=True)
    latents = made(
        prompt=None, prompt_embeds=torch.zeros(1, 4, 48), height=32, width=32, num_inference_steps=1, guidance_scale=1.0,
        output_type="latent", generator=torch.Generator().manual_seed(0),
    ).images
    shapes.append(tuple(latents.shape))
    print(f"{pipeline.__name__}: {shapes[-1]}")
raise SystemExit(len(shapes[0]) == len(shapes[1]))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
