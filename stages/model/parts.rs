//! The weights of a decoder layer: which a model has, in which order, and of what shape.

/// A weight of a layer. Products stand as `[out, in]`, norms and biases as `[1, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    AttentionNorm,
    /// Queries, keys and values, one above the other.
    Qkv,
    QkvBias,
    /// Of each head's queries and keys, before they are turned.
    QNorm,
    KNorm,
    Output,
    OutputBias,
    /// Of what attention gives, before it is added to the stream.
    PostAttentionNorm,
    MlpNorm,
    /// Gate and up, one above the other.
    GateUp,
    GateUpBias,
    Down,
    DownBias,
    /// Of what the MLP gives, before it is added to the stream.
    PostMlpNorm,
}

/// What a family's layers have beside Llama's, and how they compute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
// Each is a switch of its own.
#[expect(clippy::struct_excessive_bools)]
pub struct Switches {
    pub qkv_bias: bool,
    pub output_bias: bool,
    pub mlp_bias: bool,
    pub qk_norm: bool,
    pub post_norms: bool,
    pub activation: Activation,
    /// Embeddings are multiplied by it when they are read, not when tokens are predicted.
    pub embed_scale: Option<f32>,
    /// Attention scores are divided by its square root; the size of a head if it is not said.
    pub query_scale: Option<f32>,
    /// Norms are stored less 1.
    pub norm_less_1: bool,
}

/// What the gate goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    #[default]
    Silu,
    /// GELU by its tanh approximation.
    Gelu,
}

impl Switches {
    /// The weights of a layer, in order.
    pub fn parts(&self) -> Vec<Part> {
        let all = [
            (Part::AttentionNorm, true),
            (Part::Qkv, true),
            (Part::QkvBias, self.qkv_bias),
            (Part::QNorm, self.qk_norm),
            (Part::KNorm, self.qk_norm),
            (Part::Output, true),
            (Part::OutputBias, self.output_bias),
            (Part::PostAttentionNorm, self.post_norms),
            (Part::MlpNorm, true),
            (Part::GateUp, true),
            (Part::GateUpBias, self.mlp_bias),
            (Part::Down, true),
            (Part::DownBias, self.mlp_bias),
            (Part::PostMlpNorm, self.post_norms),
        ];
        all.into_iter().filter(|(_, there)| *there).map(|(part, _)| part).collect()
    }
}

impl Part {
    /// How many there are.
    pub const COUNT: usize = 14;

    /// Its name in qstill's own files.
    pub fn name(self) -> &'static str {
        match self {
            Self::AttentionNorm => "attention_norm",
            Self::Qkv => "qkv",
            Self::QkvBias => "qkv_bias",
            Self::QNorm => "q_norm",
            Self::KNorm => "k_norm",
            Self::Output => "output",
            Self::OutputBias => "output_bias",
            Self::PostAttentionNorm => "post_attention_norm",
            Self::MlpNorm => "mlp_norm",
            Self::GateUp => "gate_up",
            Self::GateUpBias => "gate_up_bias",
            Self::Down => "down",
            Self::DownBias => "down_bias",
            Self::PostMlpNorm => "post_mlp_norm",
        }
    }

    pub fn is_norm(self) -> bool {
        use Part::{AttentionNorm, KNorm, MlpNorm, PostAttentionNorm, PostMlpNorm, QNorm};
        matches!(self, AttentionNorm | QNorm | KNorm | PostAttentionNorm | MlpNorm | PostMlpNorm)
    }

    pub fn is_bias(self) -> bool {
        matches!(self, Part::QkvBias | Part::OutputBias | Part::GateUpBias | Part::DownBias)
    }

    /// Whether it belongs to attention; else to the MLP.
    pub fn of_attention(self) -> bool {
        !matches!(
            self,
            Part::MlpNorm | Part::GateUp | Part::GateUpBias | Part::Down | Part::DownBias | Part::PostMlpNorm
        )
    }
}
