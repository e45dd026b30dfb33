//! A table as SQLite reads it: row by row, from batches that are decoded as they are needed.
//!
//! Three ways lead to rows. A statement that reads the table once gets a pass over its files, a batch in
//! memory at a time; parts and row groups that a named value rules out are passed over. One that looks
//! up a value gets the same pass for the first looks. From then on, as in a join, it gets an index of the
//! needed columns in memory.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use datasets::table::TableError;
use rusqlite::Error;
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexInfo, VTab, VTabConnection, VTabCursor, VTabKind, sqlite3_vtab,
    sqlite3_vtab_cursor,
};

use super::cells::{Sought, TextOrInt, sought};
use super::index::{Index, Place};
use super::pass::{Held, Pass};
use super::plan::{MOST_PROBES, Plan, plan};
use super::source::Source;

/// Looks at a table after which its index is made.
const LOOKS: u32 = 2;

/// Why a statement failed, if it was for a file: SQLite keeps only the text of an error.
pub type Fault = Arc<Mutex<Option<TableError>>>;

/// The tables of a connection, by the number that a declaration names.
pub struct Tables {
    pub sources: Vec<Arc<Source>>,
    pub fault: Fault,
}

/// A table of a connection.
#[repr(C)]
pub struct Table {
    /// SQLite's own part.
    base: sqlite3_vtab,
    shared: Rc<Shared>,
}

/// What the cursors of a table share.
struct Shared {
    source: Arc<Source>,
    fault: Fault,
    plans: RefCell<Vec<Rc<Plan>>>,
    /// For each plan that looks up values: how often it did, then the index.
    lookups: RefCell<HashMap<usize, Lookup>>,
}

#[derive(Clone)]
enum Lookup {
    Looks(u32),
    Index(Rc<Index>),
}

// SAFETY: `Table` is `repr(C)`, and its first field is SQLite's `sqlite3_vtab`.
#[expect(unsafe_code)]
unsafe impl<'vtab> VTab<'vtab> for Table {
    type Aux = Tables;
    type Cursor = Cursor;

    fn connect(
        _: &mut VTabConnection,
        aux: Option<&Tables>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        args: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let number =
            args.first().and_then(|text| std::str::from_utf8(text).ok()?.trim().parse::<usize>().ok());
        let known = aux.zip(number).and_then(|(aux, number)| Some((aux.sources.get(number)?, &aux.fault)));
        let Some((source, fault)) = known else {
            return Err(Error::ModuleError("no such table of the run".to_owned()));
        };
        let declaration = CString::new(source.declaration())?;
        let shared = Shared {
            source: source.clone(),
            fault: fault.clone(),
            plans: RefCell::default(),
            lookups: RefCell::default(),
        };
        Ok((declaration.into(), Self { base: sqlite3_vtab::default(), shared: Rc::new(shared) }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let plan = plan(&self.shared.source, info)?;
        let mut plans = self.shared.plans.borrow_mut();
        let number = plans.iter().position(|known| **known == plan).unwrap_or_else(|| {
            plans.push(Rc::new(plan));
            plans.len() - 1
        });
        info.set_idx_num(number as c_int);
        Ok(true)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<Cursor> {
        let base = sqlite3_vtab_cursor::default();
        Ok(Cursor { base, shared: self.shared.clone(), state: State::Ended })
    }
}

impl CreateVTab<'_> for Table {
    const KIND: VTabKind = VTabKind::Default;
}

/// A place in a table.
#[repr(C)]
pub struct Cursor {
    /// SQLite's own part.
    base: sqlite3_vtab_cursor,
    shared: Rc<Shared>,
    state: State,
}

enum State {
    Ended,
    Pass { pass: Box<Pass>, batch: Held, at: usize },
    Found { index: Rc<Index>, place: Place },
}

impl Cursor {
    /// The first row from here on of a pass.
    fn proceed(&mut self, mut pass: Box<Pass>) -> rusqlite::Result<()> {
        self.state = State::Ended;
        if let Some(batch) = pass.batch().map_err(|error| failed(&self.shared.fault, error))? {
            self.state = State::Pass { pass, batch, at: 0 };
        }
        Ok(())
    }

    /// The index of a plan, if it is time for one.
    fn index(&self, number: usize, plan: &Rc<Plan>) -> rusqlite::Result<Option<Rc<Index>>> {
        let known = self.shared.lookups.borrow().get(&number).cloned();
        let lookup = match known {
            Some(Lookup::Index(index)) => return Ok(Some(index)),
            Some(Lookup::Looks(LOOKS)) => {
                let mut pass = Pass::of(&self.shared.source, plan.clone(), Vec::new());
                let mut batches = Vec::new();
                while let Some(batch) = pass.batch().map_err(|error| failed(&self.shared.fault, error))? {
                    batches.push(batch);
                }
                Lookup::Index(Rc::new(Index::of(batches, plan.probes.clone())))
            }
            looks => {
                Lookup::Looks(looks.map_or(0, |known| if let Lookup::Looks(n) = known { n } else { 0 }) + 1)
            }
        };
        self.shared.lookups.borrow_mut().insert(number, lookup.clone());
        Ok(if let Lookup::Index(index) = lookup { Some(index) } else { None })
    }
}

// SAFETY: `Cursor` is `repr(C)`, and its first field is SQLite's `sqlite3_vtab_cursor`.
#[expect(unsafe_code)]
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, number: c_int, _: Option<&str>, values: &Filters<'_>) -> rusqlite::Result<()> {
        self.state = State::Ended;
        let number = number as usize;
        let plan = self.shared.plans.borrow()[number].clone();
        let pass = |keys| Box::new(Pass::of(&self.shared.source, plan.clone(), keys));
        let mut found = [TextOrInt::Int(0); MOST_PROBES];
        for (nth, (value, column)) in values.iter().zip(&plan.probes).enumerate() {
            match sought(value, self.shared.source.columns[*column].kind) {
                Sought::Unclear => return self.proceed(pass(Vec::new())),
                Sought::Nothing => return Ok(()),
                Sought::Value(value) => found[nth] = value,
            }
        }
        let found = &found[..plan.probes.len()];
        if found.is_empty() {
            return self.proceed(pass(Vec::new()));
        }
        let Some(index) = self.index(number, &plan)? else {
            let keys = plan.probes.iter().zip(found).map(|(column, value)| (*column, value.owned()));
            return self.proceed(pass(keys.collect()));
        };
        if let Some(place) = index.first(found) {
            self.state = State::Found { index, place };
        }
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        match &mut self.state {
            State::Ended => Ok(()),
            State::Pass { batch, at, .. } if *at + 1 < batch.rows => {
                *at += 1;
                Ok(())
            }
            State::Pass { .. } => match std::mem::replace(&mut self.state, State::Ended) {
                State::Pass { pass, .. } => self.proceed(pass),
                _ => Ok(()),
            },
            State::Found { index, place } => {
                match index.after(*place) {
                    Some(next) => *place = next,
                    None => self.state = State::Ended,
                }
                Ok(())
            }
        }
    }

    fn eof(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn column(&self, to: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let (batch, at) = match &self.state {
            State::Ended => return Ok(()),
            State::Pass { batch, at, .. } => (batch, *at),
            State::Found { index, place } => (index.batch(*place), place.at),
        };
        batch.cells[column as usize].give(at, to)
    }

    /// The number of the part and that of the row within it.
    fn rowid(&self) -> rusqlite::Result<i64> {
        let (batch, at) = match &self.state {
            State::Ended => return Ok(0),
            State::Pass { batch, at, .. } => (batch, *at),
            State::Found { index, place } => (index.batch(*place), place.at),
        };
        Ok(batch.number(at))
    }
}

fn failed(fault: &Fault, error: TableError) -> Error {
    let text = error.to_string();
    *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    Error::ModuleError(text)
}
