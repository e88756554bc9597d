//! From the machine's arena to a tree of values, within limits on depth and size: a few bytes of pickle can describe a
//! cycle, or a list of lists of the same list that would fill any memory.

use std::collections::HashMap;

use super::PtValue;
use super::globals::View;
use super::machine::{Cell, Machine, Object};
use crate::error::Fault;

/// Deepest nesting accepted.
const MAX_DEPTH: usize = 200;

/// The entries of a dictionary.
type Pairs<T> = Vec<(PtValue<T>, PtValue<T>)>;

pub(super) struct Builder<'a, T, F: FnMut(&View) -> Result<T, Fault>> {
    machine: &'a Machine,
    tensor: F,
    /// Values and bytes of text that may still be made.
    budget: u64,
    _made: std::marker::PhantomData<T>,
}

impl<'a, T, F: FnMut(&View) -> Result<T, Fault>> Builder<'a, T, F> {
    /// `tensor` makes a leaf of a view.
    pub(super) fn new(machine: &'a Machine, tensor: F) -> Self {
        // A reference takes two instructions or so; state dictionaries that occur a few times share their entries.
        Self { machine, tensor, budget: (1 << 20) + 8 * machine.steps, _made: std::marker::PhantomData }
    }

    pub(super) fn build(&mut self, root: Cell) -> Result<PtValue<T>, Fault> {
        self.value(root, 0)
    }

    fn spend(&mut self, cost: usize) -> Result<(), Fault> {
        match self.budget.checked_sub(cost as u64) {
            Some(rest) => self.budget = rest,
            None => return Fault::bad("its pickle repeats itself beyond measure"),
        }
        Ok(())
    }

    fn value(&mut self, cell: Cell, depth: usize) -> Result<PtValue<T>, Fault> {
        if depth > MAX_DEPTH {
            return Fault::bad(format!("its pickle is nested deeper than {MAX_DEPTH} (or contains itself)"));
        }
        self.spend(1)?;
        let machine = self.machine;
        let object = match cell {
            Cell::Mark => return Fault::bad("a mark where a value was expected"),
            Cell::None => return Ok(PtValue::None),
            Cell::Bool(v) => return Ok(PtValue::Bool(v)),
            Cell::Int(v) => return Ok(PtValue::Int(v)),
            Cell::Float(v) => return Ok(PtValue::Float(v)),
            Cell::At(_) => machine.get(cell),
        };
        match object {
            Some(Object::Str(text)) => {
                self.spend(text.len() / 8)?;
                Ok(PtValue::Str(text.clone()))
            }
            Some(Object::Bytes(bytes)) => {
                self.spend(bytes.len() / 8)?;
                Ok(PtValue::Bytes(bytes.clone()))
            }
            Some(Object::List(items)) => Ok(PtValue::List(self.items(items, depth)?)),
            Some(Object::Tuple(items)) => Ok(PtValue::Tuple(self.items(items, depth)?)),
            Some(Object::Dict(pairs)) => Ok(PtValue::Dict(self.pairs(pairs, depth)?)),
            Some(Object::Tensor(view)) => Ok(PtValue::Tensor((self.tensor)(view)?)),
            Some(Object::Global(global)) => match global.value_text() {
                Some(text) => Ok(PtValue::Str(text)),
                None => Fault::bad("a class where a value was expected"),
            },
            Some(Object::Storage(_)) => Fault::bad("a storage outside a tensor, which is not read"),
            None => Fault::bad("a value that was never made"),
        }
    }

    fn items(&mut self, items: &[Cell], depth: usize) -> Result<Vec<PtValue<T>>, Fault> {
        items.iter().map(|item| self.value(*item, depth + 1)).collect()
    }

    /// A key set again replaces the earlier value in its place, as in Python.
    fn pairs(&mut self, pairs: &[(Cell, Cell)], depth: usize) -> Result<Pairs<T>, Fault> {
        let mut out: Pairs<T> = Vec::new();
        let mut places: HashMap<Result<String, i64>, usize> = HashMap::new();
        for (key, value) in pairs {
            let key = self.value(*key, depth + 1)?;
            let value = match (self.value(*value, depth + 1), &key) {
                (Err(Fault::Bad(problem)), PtValue::Str(name)) => return Fault::bad(format!("`{name}`: {problem}")),
                (value, _) => value?,
            };
            let place = match &key {
                PtValue::Str(text) => Some(*places.entry(Ok(text.clone())).or_insert(out.len())),
                PtValue::Int(number) => Some(*places.entry(Err(*number)).or_insert(out.len())),
                _ => None,
            };
            match place.filter(|p| *p < out.len()) {
                Some(place) => out[place].1 = value,
                None => out.push((key, value)),
            }
        }
        Ok(out)
    }
}
