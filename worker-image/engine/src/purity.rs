//! The trial of a job before it is accepted: a unit must give the same bits alone, after others, before others, among garbage
//! in rows that are not its own, and with other work-groups. What differs is the kernel's fault, and nobody is blamed.

use std::time::Instant;

use orion_protocol::rows::Span;
use orion_protocol::task::OutputSpec;
use orion_protocol::{Reason, Refusal};

use crate::device::{Device, DeviceError};
use crate::groups::Choice;
use crate::inputs;
use crate::job::{self, Rows};
use crate::kernel::KernelJob;

/// What stands in rows that are not the unit's own: nothing a kernel could take for its own work.
const GARBAGE: u8 = 0xa5;

impl<D: Device> KernelJob<'_, D> {
    /// Tries the first and the last unit: alone, in a pair, reversed among garbage, and in other work-groups where they are free.
    /// Returns the median time of a whole unit, in nanoseconds.
    pub fn preflight(&mut self) -> Result<u64, Refusal> {
        let last = self.units().units() - 1;
        let units = if last == 0 { vec![0] } else { vec![0, last] };
        let mut expected = Vec::new();
        for unit in &units {
            self.set_all(0)?;
            expected.push(self.timed(*unit, Choice::Usual)?.0);
        }
        let mut nanos = Vec::new();
        self.set_all(0)?;
        for (unit, want) in units.iter().zip(&expected) {
            nanos.extend(self.again(*unit, Choice::Usual, want, "after another unit than alone")?);
        }
        self.set_all(GARBAGE)?;
        for (unit, want) in units.iter().zip(&expected).rev() {
            let when = "in reversed order and with other rows not zero than alone";
            nanos.extend(self.again(*unit, Choice::Usual, want, when)?);
        }
        for (unit, want) in units.iter().zip(&expected) {
            if self.has_other_groups(*unit) {
                self.again(*unit, Choice::Other, want, "with another work-group size")?;
            }
        }
        if let Some(at) = inputs::altered(self.device(), &self.inputs)? {
            return Err(impure(format!("the kernel writes to input {at}")));
        }
        nanos.sort_unstable();
        Ok(nanos.get(nanos.len() / 2).copied().unwrap_or(1).max(1))
    }

    /// Runs a unit again and compares; its time counts when it has as many items as any.
    fn again(&mut self, unit: u64, choice: Choice, want: &Rows, when: &str) -> Result<Option<u64>, Refusal> {
        let (have, nanos) = self.timed(unit, choice)?;
        for (at, (have, want)) in have.iter().zip(want).enumerate() {
            let Some(byte) = have.iter().zip(want).position(|(have, want)| have != want) else { continue };
            let spec = &self.outputs[at].spec;
            let place = match spec.layout {
                None => format!("item {}", self.units().items_of(unit, 1).0 + byte as u64 / spec.item_bytes()),
                Some(_) => format!("element {} of what it keeps", byte as u64 / spec.dtype.size()),
            };
            return Err(impure(format!("unit {unit} gives other bits {when}: output {}, {place}", spec.name)));
        }
        let whole = self.units().items_of(unit, 1).1 == self.units().items_of(0, 1).1;
        Ok(whole.then_some(nanos))
    }

    /// What a unit keeps, and its time.
    fn timed(&mut self, unit: u64, choice: Choice) -> Result<(Rows, u64), Refusal> {
        self.device().finish()?;
        let mut rows = vec![Vec::new(); self.outputs.len()];
        let started = Instant::now();
        self.alone(unit, choice, &mut rows)?;
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let specs: Vec<OutputSpec> = self.outputs.iter().map(|output| output.spec.clone()).collect();
        job::keep(&Span::new(&specs, self.units(), unit, 1), &mut rows)?;
        Ok((rows, nanos))
    }

    /// Sets every byte of every output.
    fn set_all(&mut self, byte: u8) -> Result<(), DeviceError> {
        self.outputs.iter().try_for_each(|output| self.device().fill(&output.buffer, byte, 0, output.whole))
    }
}

fn impure(why: String) -> Refusal {
    Refusal::new(Reason::KernelNotUnitPure, why)
}
