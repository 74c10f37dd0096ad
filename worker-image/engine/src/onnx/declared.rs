//! Declarations of a model's inputs and outputs: tensors of supported types, with dimensions that are fixed, named or free.

use super::error::{Fault, Name};
use super::limits::{Limits, at_most};
use super::proto::ValueInfoProto;
use super::proto::tensor_shape_proto::{Dimension, dimension};
use super::proto::type_proto::Value;
use super::tensor;
use crate::graph::Dim;
use crate::tensor::{Facts, Kind};

/// Type and dimensions of a value; no dimensions where nothing is said of them.
pub(super) struct Declared {
    pub kind: Kind,
    pub shape: Option<Vec<Dim>>,
}

/// Reads a declaration; `None` where there is no type.
pub(super) fn read(proto: &ValueInfoProto, limits: &Limits) -> Result<Option<Declared>, Fault> {
    let Some(value) = proto.r#type.as_ref().and_then(|declared| declared.value.as_ref()) else { return Ok(None) };
    let Value::TensorType(declared) = value else { return Err(Fault::NoTensor) };
    let kind = tensor::kind(declared.elem_type)?;
    let Some(shape) = &declared.shape else { return Ok(Some(Declared { kind, shape: None })) };
    at_most("dimensions", shape.dim.len(), limits.rank)?;
    let shape = shape.dim.iter().map(|dim| read_dim(dim, limits)).collect::<Result<_, _>>()?;
    Ok(Some(Declared { kind, shape: Some(shape) }))
}

fn read_dim(dim: &Dimension, limits: &Limits) -> Result<Dim, Fault> {
    match &dim.value {
        Some(dimension::Value::DimValue(dim)) => tensor::dimension(*dim).map(Dim::Known),
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => {
            at_most("bytes of a dimension's name", name.len(), limits.name_bytes)?;
            Ok(Dim::Named(name.clone()))
        }
        _ => Ok(Dim::Free),
    }
}

impl Declared {
    /// Whether a constant may stand where this is declared.
    pub(super) fn check(&self, held: &Facts) -> Result<(), Fault> {
        let fits = |(declared, held): (&Dim, &usize)| !matches!(declared, Dim::Known(dim) if dim != held);
        let shape = self.shape.as_ref();
        let agrees = shape.is_none_or(|dims| dims.len() == held.shape.len() && dims.iter().zip(&held.shape).all(fits));
        if self.kind != held.kind || !agrees {
            return Err(Fault::Disagrees { declared: self.to_string().into(), held: held.clone().into() });
        }
        Ok(())
    }
}

impl std::fmt::Display for Declared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(dims) = &self.shape else { return write!(f, "{}", self.kind) };
        let dims: Vec<String> = dims
            .iter()
            .map(|dim| match dim {
                Dim::Known(dim) => dim.to_string(),
                Dim::Named(name) => Name::new(name).to_string(),
                Dim::Free => "?".to_owned(),
            })
            .collect();
        write!(f, "{} [{}]", self.kind, dims.join(", "))
    }
}
