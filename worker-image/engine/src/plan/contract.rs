//! Contractions: chains of products over channels and taps, for as many rows and columns at once as registers hold. Matrix products and
//! convolutions come here as lines of rows; what follows them for each element becomes part of the launch.

use std::sync::Arc;

use super::epilogue::Epilogue;
use super::map::{self, Tree};
use super::view::places;
use super::{BufferId, Content, Planned, Planner, Text, View, signed};
use crate::builtin;
use crate::program::Slot;
use crate::tensor::{Kind, Tensor};

const CONTRACT: &str = include_str!("../builtin/contract.cl");
const DEPTHWISE: &str = include_str!("../builtin/depthwise.cl");
const GROUPED: &str = include_str!("../builtin/contract_grouped.cl");
const PACK: &str = include_str!("../builtin/pack.cl");

/// Functions after a contraction in one launch: each stands in its text once for every row and sixteen columns of the tile.
const MAX_CALLS: usize = 16;
/// Work-items of a launch, below which they are made smaller.
const ITEMS: usize = 16;
/// What a work-item does where there is enough to do: rows laid out once serve all of its columns, and weights in the cache all of its tiles.
const TILES: usize = 2;
const COLUMNS: usize = 256;
/// Terms of a sum that are laid out at once. Whoever begins anew waits for memory, so it is as many as the second cache holds beside a panel.
const DEPTH: usize = 1536;

/// How much of a result is made at once, and by whom. Bits do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Rows of the first operand.
    pub rows: usize,
    /// Columns of the second one: a multiple of 16.
    pub columns: usize,
    /// By the work-items of a group, which share what they read (GPUs); otherwise by one, in registers (CPUs).
    pub grouped: bool,
}

impl Tile {
    /// Numbers of floats in a register that have a tile of their own.
    pub const LANES: [u32; 3] = [1, 8, 16];

    /// The tile for registers of so many floats: accumulators and the operands beside them fill the registers of AVX2 (16 of 8 floats) or
    /// AVX-512 (32 of 16). A device whose registers hold one float has many work-items instead.
    pub fn for_lanes(lanes: u32) -> Tile {
        match lanes {
            0 | 1 => Tile { rows: 64, columns: 64, grouped: true },
            2..16 => Tile { rows: 6, columns: 16, grouped: false },
            _ => Tile { rows: 14, columns: 32, grouped: false },
        }
    }

    /// Rows of each tile, so that few are computed twice where the last tile overlaps the one before. Each tile costs about a row more than it has.
    fn rows_for(self, all: usize) -> usize {
        let least = (self.rows - self.rows / 4).min(all);
        let cost = |rows: usize| all.div_ceil(rows) * (rows + 1);
        (least..=self.rows.min(all)).rev().min_by_key(|rows| cost(*rows)).unwrap_or(1)
    }

    /// Panels that a work-item does at most.
    fn panels(self) -> usize {
        (COLUMNS / self.columns).max(1)
    }

    /// Tiles and panels that each work-item does, of so many in so many batches: fewer where few work-items would be left.
    fn share(self, tiles: usize, panels: usize, batches: usize) -> (usize, usize) {
        let mut share = (TILES.min(tiles), self.panels().min(panels));
        let items = |share: (usize, usize)| tiles.div_ceil(share.0) * panels.div_ceil(share.1) * batches;
        while items(share) < ITEMS && share != (1, 1) {
            let longer = if share.1 > 1 { &mut share.1 } else { &mut share.0 };
            *longer = longer.div_ceil(2);
        }
        share
    }
}

/// Matrices `[k, n]` of a tensor as a contraction reads them: `[matrix][panel of columns][k][column]`, zeros beyond the last column. Packed when it is
/// asked for, so that one matrix at a time is there twice.
#[derive(Clone, Debug)]
pub struct Panels {
    tensor: Arc<Tensor>,
    /// The first element of each matrix.
    starts: Vec<isize>,
    size: (usize, usize),
    steps: (isize, isize),
    width: usize,
}

impl Panels {
    /// The bytes.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        let ((k, n), (k_step, n_step)) = (self.size, self.steps);
        let values = self.tensor.as_slice::<f32>().unwrap_or_default();
        let element = |at: isize| usize::try_from(at).ok().and_then(|at| values.get(at)).copied().unwrap_or(0.0);
        let mut packed = Vec::with_capacity(self.starts.len() * n.next_multiple_of(self.width) * k * 4);
        for start in &self.starts {
            for first in (0..n).step_by(self.width) {
                for row in 0..k {
                    for column in first..first + self.width {
                        let at = start + row.cast_signed() * k_step + column.cast_signed() * n_step;
                        let value = if column < n { element(at) } else { 0.0 };
                        packed.extend(value.to_le_bytes());
                    }
                }
            }
        }
        packed
    }
}

/// A contraction that is planned and not launched yet: what follows may become part of it.
#[derive(Clone)]
pub(super) struct Pending {
    pub lines: Lines,
    pub input: BufferId,
    pub weights: BufferId,
    /// Where the result lies.
    pub view: View,
    /// Dimensions of the result that run along a row, outermost first; along lines; and along columns.
    pub rows: Vec<usize>,
    pub line: Option<usize>,
    pub column: usize,
    /// The first element of each batch.
    pub origins: Vec<Vec<usize>>,
}

/// Lines of `width` rows each, times panels of columns. Steps and starts are in elements.
#[derive(Clone)]
pub(super) struct Lines {
    pub width: usize,
    pub count: usize,
    pub channels: usize,
    pub in_step: isize,
    pub in_line: isize,
    pub out_step: isize,
    pub out_line: isize,
    pub columns: usize,
    /// Where the taps of a row lie, seen from its beginning.
    pub taps: Vec<isize>,
    /// Where input, weights and output of each batch begin.
    pub batches: Vec<[isize; 3]>,
    /// Each column has a channel of its own, and nothing else.
    pub depthwise: bool,
}

impl Planner<'_> {
    /// Puts a contraction off where the only step that needs it can become part of it.
    pub(super) fn contraction(&mut self, slot: Slot, mut pending: Pending) {
        // Dimensions of one row have no distance of rows.
        let shape = &pending.view.shape;
        pending.rows.retain(|dim| shape[*dim] != 1);
        self.views.insert(slot, pending.view.clone());
        if self.feeds_a_map(slot) {
            self.pending.insert(slot, pending);
        } else {
            self.contract(&pending, &Epilogue::default());
        }
    }

    /// Launches a contraction that was put off, alone.
    pub(super) fn settle(&mut self, slot: Slot) {
        if let Some(pending) = self.pending.remove(&slot) {
            self.contract(&pending, &Epilogue::default());
        }
    }

    /// Launches one of the contractions among the leaves together with everything that is done to its results, if strides allow it.
    pub(super) fn contract_with(
        &mut self,
        slot: Slot,
        tree: &Tree,
        leaves: &[Slot],
        operands: &[(Kind, View)],
    ) -> bool {
        let Some(at) = leaves.iter().rposition(|leaf| self.pending.contains_key(leaf)) else { return false };
        let Some(pending) = self.pending.remove(&leaves[at]) else { return false };
        // The contraction's own results come first.
        let mut order = leaves.to_vec();
        order.swap(0, at);
        let mut views: Vec<View> = operands.iter().map(|(_, view)| view.clone()).collect();
        views.swap(0, at);
        for leaf in order.iter().skip(1) {
            self.settle(*leaf);
        }
        let facts = self.facts(slot).clone();
        let kinds: Vec<Kind> = operands.iter().map(|(kind, _)| *kind).collect();
        let fits = facts.kind == Kind::F32
            && tree.calls() <= MAX_CALLS
            && map::all_float(tree, &kinds)
            && views.iter().skip(1).all(|view| pending.fits(view));
        if !fits {
            self.contract(&pending, &Epilogue::default());
            return false;
        }
        self.views.insert(slot, pending.view.clone());
        let operands = views.split_off(1);
        self.contract(&pending, &Epilogue::new(tree, &order, operands, pending.column));
        true
    }

    /// `[.., k, n]` as panels. Constants are packed here, others by a launch.
    pub(super) fn packed(&mut self, b: &View, known: Option<Arc<Tensor>>) -> Planned<BufferId> {
        let &[ref dims @ .., k, n] = b.shape.as_slice() else { return Err("an operand is no matrix".into()) };
        let &[ref steps @ .., k_step, n_step] = b.strides.as_slice() else {
            return Err("an operand is no matrix".into());
        };
        let panel = self.tile.columns;
        let panels = n.div_ceil(panel);
        let starts: Vec<isize> = places(dims, steps).into_iter().map(|at| at + b.offset.cast_signed()).collect();
        let bytes = starts.len() * panels * k * panel * 4;
        if let Some(tensor) = known {
            let panels = Panels { tensor, starts, size: (k, n), steps: (k_step, n_step), width: panel };
            return Ok(self.bytes(bytes, Content::Panels(panels)));
        }
        let packed = self.bytes(bytes, Content::Any);
        let mut meta = vec![signed(k), signed(n), signed(panels), k_step as i64, n_step as i64];
        meta.extend(starts.iter().map(|start| *start as i64));
        let group = self.group();
        let source = builtin::complete(&format!("#define PANEL {panel}\n#define GROUP {group}\n{PACK}"));
        let text = Text { source, entry: "pack", group: [group, 1, 1] };
        let rows = if self.tile.grouped { k.max(1) } else { 1 };
        self.launch(text, vec![packed, b.buffer], &meta, [1, rows, panels * starts.len()]);
        Ok(packed)
    }

    fn contract(&mut self, pending: &Pending, epilogue: &Epilogue) {
        let lines = &pending.lines;
        let panels = lines.columns.div_ceil(self.tile.columns);
        let mut meta: Vec<i64> =
            [lines.channels, lines.taps.len(), lines.width, lines.count, lines.columns, panels].map(signed).to_vec();
        meta.extend([lines.in_step, lines.in_line, lines.out_step, lines.out_line].map(|step| step as i64));
        let (text, global) = match (self.tile.grouped, lines.depthwise) {
            (true, _) => self.grouped(lines, panels, epilogue),
            (false, true) => self.depthwise(lines, panels, epilogue),
            (false, false) => self.staged(lines, panels, epilogue, &mut meta),
        };
        for view in &epilogue.operands {
            let row = pending.rows.last().map_or(0, |dim| view.strides[*dim]);
            meta.extend([pending.line.map_or(0, |dim| view.strides[dim]), row].map(|step| step as i64));
        }
        meta.extend(lines.taps.iter().map(|tap| *tap as i64));
        for (starts, origin) in lines.batches.iter().zip(&pending.origins) {
            meta.extend(starts.iter().map(|start| *start as i64));
            meta.extend(epilogue.operands.iter().map(|view| view.place(origin) as i64));
        }
        let mut buffers = vec![pending.view.buffer, pending.input, pending.weights];
        buffers.extend(epilogue.operands.iter().map(|view| view.buffer));
        self.launch(text, buffers, &meta, global);
    }

    /// By work-items of a group, in local memory.
    fn grouped(&self, lines: &Lines, panels: usize, epilogue: &Epilogue) -> (Text, [usize; 3]) {
        let (depthwise, defines) = (u8::from(lines.depthwise), &epilogue.defines);
        let source = builtin::complete(&format!("#define DEPTHWISE {depthwise}\n{defines}{GROUPED}"));
        let groups = (lines.width * lines.count).div_ceil(self.tile.rows);
        (Text { source, entry: "contract", group: [16, 16, 1] }, [16 * groups, 16, panels * lines.batches.len()])
    }

    /// A lane a channel. Tiles go on in the next line where fewer of them do it then.
    fn depthwise(&self, lines: &Lines, panels: usize, epilogue: &Epilogue) -> (Text, [usize; 3]) {
        let tiles = |count: usize, width: usize| count * width.div_ceil(self.tile.rows);
        let all = lines.width * lines.count;
        let flowing = tiles(1, all) < tiles(lines.count, lines.width);
        let (width, count) = if flowing { (all, 1) } else { (lines.width, lines.count) };
        let rows = self.tile.rows.min(width);
        let (vectors, defines) = (self.tile.columns / 16, &epilogue.defines);
        let sizes = format!("#define ROWS {rows}\n#define VECS {vectors}\n#define FLOWING {}\n", u8::from(flowing));
        let source = builtin::complete(&format!("{sizes}{defines}{DEPTHWISE}"));
        let text = Text { source, entry: "depthwise", group: [1; 3] };
        (text, [width.div_ceil(rows), count, panels * lines.batches.len()])
    }

    /// In registers, several tiles and panels a work-item, in blocks of the sum.
    fn staged(&self, lines: &Lines, panels: usize, epilogue: &Epilogue, meta: &mut Vec<i64>) -> (Text, [usize; 3]) {
        let all = lines.width * lines.count;
        let rows = self.tile.rows_for(all);
        let batches = lines.batches.len();
        let (tiles_each, panels_each) = self.tile.share(all.div_ceil(rows), panels, batches);
        meta.extend([tiles_each, panels_each].map(signed));
        // A single tap is the first one, at no distance from itself.
        let (vectors, single) = (self.tile.columns / 16, u8::from(lines.taps.len() == 1));
        let sizes = format!("#define ROWS {rows}\n#define VECS {vectors}\n#define SINGLE {single}\n");
        let most = self.tile.panels();
        let blocks = format!("#define TILES {TILES}\n#define PANELS {most}\n#define DEPTH {DEPTH}\n");
        let source = builtin::complete(&format!("{sizes}{blocks}{}{CONTRACT}", epilogue.defines));
        let text = Text { source, entry: "contract", group: [1; 3] };
        (text, [all.div_ceil(rows * tiles_each), panels.div_ceil(panels_each) * batches, 1])
    }
}

impl Pending {
    /// Whether an operand of the result's shape can be read beside it: rows at one distance, columns next to each other or all the same.
    fn fits(&self, view: &View) -> bool {
        let columns = matches!(view.strides[self.column], 0 | 1) || view.shape[self.column] == 1;
        let rows = self.rows.windows(2).all(|pair| {
            let (outer, inner) = (pair[0], pair[1]);
            view.strides[outer] == view.strides[inner] * view.shape[inner].cast_signed()
        });
        columns && rows
    }
}
