//! The stack machine that interprets a pickle.
//!
//! Objects live in an arena and refer to each other by number: cycles and deep nesting, which a hostile file can build from
//! a few bytes, cost nothing to hold or drop. `super::tree` turns the arena into a tree within limits.

use std::collections::HashMap;
use std::io::BufRead;

use super::globals::{self, Global, Storage, View};
use super::opcode::{self, Op};
use crate::error::Fault;

/// Most instructions in one pickle: about a hundred per tensor, so millions of tensors.
const MAX_STEPS: u64 = 1 << 28;

/// A value on the stack; containers, strings and tensors are places in the arena.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    Mark,
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    At(usize),
}

/// What lies in the arena.
#[derive(Clone, Debug)]
pub(super) enum Object {
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Cell>),
    Tuple(Vec<Cell>),
    Dict(Vec<(Cell, Cell)>),
    Global(Global),
    Storage(Storage),
    Tensor(View),
}

/// The state of one interpretation.
#[derive(Default)]
pub(super) struct Machine {
    stack: Vec<Cell>,
    memo: HashMap<u32, Cell>,
    pub(super) arena: Vec<Object>,
    /// Instructions done; bounds what `super::tree` may build.
    pub(super) steps: u64,
    /// Values and bytes copied by calls: a call can copy a large object that costs the file two bytes to name.
    copied: u64,
}

impl Machine {
    /// Interprets one pickle up to its end and returns its value. The arena keeps what earlier pickles made.
    pub(super) fn run(&mut self, input: &mut dyn BufRead) -> Result<Cell, Fault> {
        self.stack.clear();
        self.memo.clear();
        loop {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Fault::bad("its pickle has too many instructions");
            }
            match opcode::next(input)? {
                Op::Stop => return self.pop(),
                op => self.step(op)?,
            }
        }
    }

    fn step(&mut self, op: Op) -> Result<(), Fault> {
        match op {
            Op::None => self.stack.push(Cell::None),
            Op::Bool(v) => self.stack.push(Cell::Bool(v)),
            Op::Int(v) => self.stack.push(Cell::Int(v)),
            Op::Float(v) => self.stack.push(Cell::Float(v)),
            Op::Str(v) => self.make(Object::Str(v)),
            Op::Bytes(v) => self.make(Object::Bytes(v)),
            other => self.act(&other)?,
        }
        Ok(())
    }

    /// Instructions that are not plain values.
    fn act(&mut self, op: &Op) -> Result<(), Fault> {
        match op {
            Op::Nop | Op::Stop => {}
            Op::Mark => self.stack.push(Cell::Mark),
            Op::Pop => {
                self.stack.pop();
            }
            Op::PopMark => {
                self.pop_to_mark()?;
            }
            Op::Dup => {
                let top = self.top()?;
                self.stack.push(top);
            }
            Op::Get(place) => {
                let cell = self.memo.get(place).copied();
                self.stack.push(cell.ok_or_else(|| Fault::Bad(format!("memo place {place} is empty")))?);
            }
            Op::Put(place) => {
                let top = self.top()?;
                self.memo.insert(*place, top);
            }
            Op::Memoize => {
                let (top, place) = (self.top()?, self.memo.len() as u32);
                self.memo.insert(place, top);
            }
            Op::Global(name) => self.global(name)?,
            Op::StackGlobal => {
                let (name, module) = (self.pop()?, self.pop()?);
                self.charge(self.text(module)?.len() + self.text(name)?.len())?;
                let full = format!("{}.{}", self.text(module)?, self.text(name)?);
                self.global(&full)?;
            }
            Op::PersistentId | Op::Reduce | Op::NewObject | Op::Build => self.object(op)?,
            container => self.container(container)?,
        }
        Ok(())
    }

    fn container(&mut self, op: &Op) -> Result<(), Fault> {
        match op {
            Op::EmptyTuple => self.make(Object::Tuple(Vec::new())),
            Op::EmptyList | Op::EmptySet => self.make(Object::List(Vec::new())),
            Op::EmptyDict => self.make(Object::Dict(Vec::new())),
            Op::TupleOf(count) => {
                let from = self.stack.len().checked_sub(*count).ok_or_else(underflow)?;
                let items = self.stack.split_off(from);
                self.make(Object::Tuple(items));
            }
            Op::TupleFromMark | Op::ListFromMark | Op::FrozenSet | Op::DictFromMark => {
                let items = self.pop_to_mark()?;
                self.make(match op {
                    Op::TupleFromMark => Object::Tuple(items),
                    Op::DictFromMark => Object::Dict(pairs(&items)?),
                    _ => Object::List(items),
                });
            }
            Op::Append => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            Op::Appends | Op::AddItems => {
                let items = self.pop_to_mark()?;
                self.extend_list(items)?;
            }
            Op::SetItem => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(&[key, value])?;
            }
            _ => {
                let items = self.pop_to_mark()?;
                self.extend_dict(&items)?;
            }
        }
        Ok(())
    }

    fn object(&mut self, op: &Op) -> Result<(), Fault> {
        match op {
            Op::PersistentId => {
                let id = self.pop()?;
                let storage = globals::storage(self, id)?;
                self.make(Object::Storage(storage));
            }
            Op::Build => {
                let state = self.pop()?;
                let object = self.top()?;
                globals::build(self, object, state)?;
            }
            _ => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let result = globals::call(self, callable, arguments)?;
                self.stack.push(result);
            }
        }
        Ok(())
    }

    /// Counts copies against a limit.
    pub(super) fn charge(&mut self, copies: usize) -> Result<(), Fault> {
        self.copied += copies as u64;
        if self.copied > (1 << 22) + 8 * self.steps {
            return Fault::bad("its pickle repeats itself beyond measure");
        }
        Ok(())
    }

    fn global(&mut self, name: &str) -> Result<(), Fault> {
        let global = Global::named(name).ok_or_else(|| Fault::Refused(name.into()))?;
        self.make(Object::Global(global));
        Ok(())
    }

    fn extend_list(&mut self, items: Vec<Cell>) -> Result<(), Fault> {
        match self.top_object()? {
            Object::List(list) => list.extend(items),
            _ => return Fault::bad("items are appended to something that is not a list"),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Cell]) -> Result<(), Fault> {
        let items = pairs(items)?;
        match self.top_object()? {
            Object::Dict(dict) => dict.extend(items),
            _ => return Fault::bad("entries are set in something that is not a dictionary"),
        }
        Ok(())
    }

    fn top_object(&mut self) -> Result<&mut Object, Fault> {
        match self.top()? {
            Cell::At(place) => Ok(&mut self.arena[place]),
            _ => Fault::bad("a container was expected on the stack"),
        }
    }

    /// Puts an object into the arena.
    pub(super) fn store(&mut self, object: Object) -> Cell {
        self.arena.push(object);
        Cell::At(self.arena.len() - 1)
    }

    fn make(&mut self, object: Object) {
        let cell = self.store(object);
        self.stack.push(cell);
    }

    fn pop(&mut self) -> Result<Cell, Fault> {
        match self.stack.pop() {
            Some(Cell::Mark) | None => Err(underflow()),
            Some(cell) => Ok(cell),
        }
    }

    fn top(&self) -> Result<Cell, Fault> {
        match self.stack.last() {
            Some(Cell::Mark) | None => Err(underflow()),
            Some(cell) => Ok(*cell),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Cell>, Fault> {
        let mark = self.stack.iter().rposition(|c| *c == Cell::Mark).ok_or_else(underflow)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    /// The object of a cell, where it is one.
    pub(super) fn get(&self, cell: Cell) -> Option<&Object> {
        if let Cell::At(place) = cell { self.arena.get(place) } else { None }
    }

    /// A string.
    pub(super) fn text(&self, cell: Cell) -> Result<&str, Fault> {
        match self.get(cell) {
            Some(Object::Str(text)) => Ok(text),
            _ => Fault::bad("a string was expected"),
        }
    }

    /// The items of a tuple or list.
    pub(super) fn items(&self, cell: Cell) -> Result<&[Cell], Fault> {
        match self.get(cell) {
            Some(Object::Tuple(items) | Object::List(items)) => Ok(items),
            _ => Fault::bad("a tuple was expected"),
        }
    }

    /// Sizes, strides and offsets.
    pub(super) fn index(&self, cell: Cell) -> Result<usize, Fault> {
        match cell {
            Cell::Int(v) => usize::try_from(v).map_err(|_| Fault::Bad(format!("a size or stride of {v}"))),
            _ => Fault::bad("a size or stride that is not an integer"),
        }
    }
}

fn pairs(items: &[Cell]) -> Result<Vec<(Cell, Cell)>, Fault> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Fault::bad("a dictionary with a key without a value");
    }
    Ok(pairs.iter().map(|[k, v]| (*k, *v)).collect())
}

fn underflow() -> Fault {
    Fault::Bad("its pickle takes more from the stack than there is".into())
}
