//! Objects by number. Numbers are never used twice, so that one that was destroyed stays unknown.

use std::collections::BTreeMap;

use crate::refusal::{Done, refuse};
use crate::va::{Id, Status, status};

/// Objects of one kind.
#[derive(Debug)]
pub struct Table<T> {
    kind: &'static str,
    first: Id,
    next: Id,
    unknown: Status,
    most: usize,
    objects: BTreeMap<Id, T>,
}

/// Numbers of one kind.
const SPAN: Id = 0x0100_0000;

impl<T> Table<T> {
    /// An empty table whose numbers begin behind `first`; `unknown` is what others are answered with.
    pub fn new(kind: &'static str, first: Id, unknown: Status, most: usize) -> Self {
        Self {
            kind,
            first,
            next: first + 1,
            unknown,
            most,
            objects: BTreeMap::new(),
        }
    }

    /// Room for `count` more.
    pub fn check_room(&self, count: usize) -> Done {
        match self.objects.len().saturating_add(count) <= self.most && self.next < self.first + SPAN
        {
            true => Ok(()),
            false => refuse(
                status::MAX_NUM_EXCEEDED,
                format!("more than {} objects of kind {}", self.most, self.kind),
            ),
        }
    }

    /// Adds one.
    pub fn add(&mut self, object: T) -> Done<Id> {
        self.check_room(1)?;
        let id = self.next;
        self.next += 1;
        self.objects.insert(id, object);
        Ok(id)
    }

    fn unknown<R>(&self, id: Id) -> Done<R> {
        let why = if (self.first + 1..self.next).contains(&id) {
            format!("{} {id:#x} has been destroyed", self.kind)
        } else {
            format!("{id:#x} is no {}", self.kind)
        };
        refuse(self.unknown, why)
    }

    /// One.
    pub fn get(&self, id: Id) -> Done<&T> {
        match self.objects.get(&id) {
            Some(object) => Ok(object),
            None => self.unknown(id),
        }
    }

    /// One, to be changed.
    pub fn get_mut(&mut self, id: Id) -> Done<&mut T> {
        if !self.objects.contains_key(&id) {
            return self.unknown(id);
        }
        match self.objects.get_mut(&id) {
            Some(object) => Ok(object),
            None => refuse(self.unknown, "no such object"),
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, id: Id) -> Done<T> {
        match self.objects.remove(&id) {
            Some(object) => Ok(object),
            None => self.unknown(id),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.objects.iter().map(|(id, object)| (*id, object))
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut T)> {
        self.objects.iter_mut().map(|(id, object)| (*id, object))
    }

    /// How many are there, in words; nothing where there are none.
    pub fn left(&self) -> Option<String> {
        let count = self.objects.len();
        (count > 0).then(|| format!("{count} of kind {}", self.kind))
    }
}
