"""Tiny random pipelines of the real diffusers classes, without a download: the miniature's tokenisers do the reading."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralVisionConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

from rationalrewards_core.miniature import generator_folder, scorer_folder


def captions() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(generator_folder() / "tokenizer")


def chats() -> Any:
    tokeniser = AutoTokenizer.from_pretrained(scorer_folder())
    tokeniser.padding_side = "right"
    return tokeniser


def clip(kind: Any, projection: int = 32) -> Any:
    tokeniser = captions()
    return kind(
        CLIPTextConfig(
            vocab_size=len(tokeniser), hidden_size=32, intermediate_size=37, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=77, projection_dim=projection,
            bos_token_id=tokeniser.bos_token_id, eos_token_id=tokeniser.eos_token_id,
            pad_token_id=tokeniser.pad_token_id,
        )
    )  # fmt: skip


def t5() -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=len(captions()), d_model=32, d_ff=37, d_kv=8, num_layers=2, num_heads=4))


def vae(channels: int) -> diffusers.AutoencoderKL:
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return diffusers.AutoencoderKL(
        sample_size=32, in_channels=3, out_channels=3, block_out_channels=(8, 8), layers_per_block=1,
        latent_channels=channels, norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False,
        shift_factor=0.0609, scaling_factor=1.5035, **blocks,
    )  # fmt: skip


def sd3() -> Any:
    torch.manual_seed(0)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64, out_channels=4,
        pos_embed_max_size=16, qk_norm="rms_norm", dual_attention_layers=(0,),
    )  # fmt: skip
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer, vae=vae(4), scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=clip(CLIPTextModelWithProjection), tokenizer=captions(),
        text_encoder_2=clip(CLIPTextModelWithProjection), tokenizer_2=captions(),
        text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip


def flux(kind: str = "FluxPipeline", guidance: bool = True) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance,
    )  # fmt: skip
    return getattr(diffusers, kind)(
        transformer=transformer, vae=vae(4), text_encoder=clip(CLIPTextModel), tokenizer=captions(),
        text_encoder_2=t5(), tokenizer_2=captions(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )  # fmt: skip


def flux2_transformer(guidance: bool) -> Any:
    return diffusers.Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=guidance,
    )  # fmt: skip


def flux2_vae() -> Any:
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    made = diffusers.AutoencoderKLFlux2(
        sample_size=32, block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=1, **blocks
    )
    made.bn.running_mean.normal_(std=0.3)  # what the latents are normalised by
    made.bn.running_var.uniform_(0.5, 2.0)
    return made


def flux2() -> Any:
    """The text is read off layers 10, 20 and 30."""
    torch.manual_seed(0)
    tokeniser = chats()
    tokeniser.chat_template = (
        "{% for m in messages %}{% for p in m['content'] %}{{ p['text'] }}{% endfor %}{% endfor %}"
    )
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    encoder = Mistral3ForConditionalGeneration(
        Mistral3Config(
            text_config=MistralConfig(
                **sizes, num_hidden_layers=30, num_key_value_heads=2, head_dim=8, vocab_size=len(tokeniser) + 8
            ),
            vision_config=PixtralVisionConfig(**sizes, num_hidden_layers=1, image_size=28, patch_size=14),
        )
    )
    return diffusers.Flux2Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True), vae=flux2_vae(),
        text_encoder=encoder, tokenizer=tokeniser, transformer=flux2_transformer(guidance=True),
    )  # fmt: skip


def flux2_klein() -> Any:
    """The text is read off layers 9, 18 and 27."""
    torch.manual_seed(0)
    tokeniser = chats()
    tokeniser.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    encoder = Qwen3ForCausalLM(
        Qwen3Config(
            hidden_size=16, intermediate_size=16, num_hidden_layers=27, num_attention_heads=2, num_key_value_heads=2,
            vocab_size=len(tokeniser) + 8, head_dim=8,
        )
    )  # fmt: skip
    return diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True), vae=flux2_vae(),
        text_encoder=encoder, tokenizer=tokeniser, transformer=flux2_transformer(guidance=False),
    )  # fmt: skip


def qwen_encoder() -> Any:
    tokeniser = chats()
    ids = {
        f"{name}_token_id": tokeniser.convert_tokens_to_ids(token)
        for name, token in (
            ("image", "<|image_pad|>"), ("vision_start", "<|vision_start|>"), ("vision_end", "<|vision_end|>"),
            ("video", "<|video_pad|>"),
        )
    }  # fmt: skip
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "rope_scaling": rope, "rope_theta": 1e6, "vocab_size": len(tokeniser) + 8,
        },
        vision_config={
            "depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
            "fullatt_block_indexes": [1],
        },
        vocab_size=len(tokeniser) + 8, **ids,
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config)


def qwen_parts() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "transformer": diffusers.QwenImageTransformer2DModel(
            patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=16, guidance_embeds=False, axes_dims_rope=(8, 4, 4),
        ),
        "vae": diffusers.AutoencoderKLQwenImage(
            base_dim=24, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, True],
            latents_mean=[0.1, 0.2, 0.0, -0.1], latents_std=[1.5, 1.0, 2.0, 1.2],
        ),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, shift_terminal=0.02, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192
        ),
        "text_encoder": qwen_encoder(), "tokenizer": chats(),
    }  # fmt: skip


def qwen_image() -> Any:
    return diffusers.QwenImagePipeline(**qwen_parts())


class WithoutVideo(Qwen2VLProcessor):
    """The real processor; its video part would need torchvision."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        return type(argument)


def qwen_image_edit() -> Any:
    from transformers import Qwen2VLImageProcessor

    images = Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56)
    processor = WithoutVideo(image_processor=images, tokenizer=chats(), video_processor=None)
    return diffusers.QwenImageEditPlusPipeline(**qwen_parts(), processor=processor)


def z_image() -> Any:
    torch.manual_seed(0)
    tokeniser = chats()
    tokeniser.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, cap_feat_dim=16, rope_theta=256.0, t_scale=1000.0, axes_dims=[8, 4, 4], axes_lens=[256, 32, 32],
    )  # fmt: skip
    for name, parameter in transformer.named_parameters():
        if "pad_token" in name:  # left uninitialised by the class
            torch.nn.init.normal_(parameter, std=0.02)
    encoder = Qwen3Model(
        Qwen3Config(
            hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
            vocab_size=len(tokeniser) + 8, head_dim=8,
        )
    )  # fmt: skip
    return diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae(4), text_encoder=encoder,
        tokenizer=tokeniser, transformer=transformer,
    )  # fmt: skip
