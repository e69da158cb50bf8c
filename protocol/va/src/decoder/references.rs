//! Which pictures later ones build on: numbers, order and lists. Source: ITU-T H.264, 8.2.1, 8.2.4 and
//! 8.2.5, without fields, long-term pictures and gaps, which the protocol leaves out.

use heliostat_video::syntax::{Marking, Order, PictureParameters, SequenceParameters, Slice};

use crate::abi::{Id, PICTURE_H264_SHORT_TERM_REFERENCE, PictureH264};
use crate::sys::plain::zeroed;

/// A picture that later ones may build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held<T> {
    /// Where it is.
    pub what: T,
    frame_number: u16,
    order: (i32, i32),
}

impl<T> Held<T> {
    /// What a driver is told of it, where it is in surface `id`.
    pub fn picture(&self, id: Id) -> PictureH264 {
        let mut picture: PictureH264 = zeroed();
        picture.picture_id = id;
        picture.frame_idx = self.frame_number.into();
        picture.flags = PICTURE_H264_SHORT_TERM_REFERENCE;
        (picture.top_field_order_cnt, picture.bottom_field_order_cnt) = self.order;
        picture
    }
}

/// The picture at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Current {
    /// Its number.
    pub frame_number: u16,
    /// The counts of its fields.
    pub order: (i32, i32),
    /// It needs none before it.
    pub is_key: bool,
    /// Later ones may build on it.
    pub is_reference: bool,
    /// What is remembered of it.
    after: Before,
}

/// What the next picture's numbers are counted from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Before {
    frame_number: u32,
    /// What has been added to frame numbers, whenever they began again.
    offset: u32,
    /// The number of the last picture that others build on.
    reference: u32,
    /// The upper and the lower bits of its count.
    count: (u32, u32),
}

/// Pictures that later ones may build on, and where in the video we are.
#[derive(Debug)]
pub(super) struct References<T> {
    held: Vec<Held<T>>,
    before: Option<Before>,
}

impl<T> Default for References<T> {
    fn default() -> Self {
        Self {
            held: Vec::new(),
            before: None,
        }
    }
}

impl<T: Copy + PartialEq> References<T> {
    /// Forgets all; a key is needed.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a key has come.
    pub fn is_begun(&self) -> bool {
        self.before.is_some()
    }

    /// Pictures held, the oldest first.
    pub fn held(&self) -> &[Held<T>] {
        &self.held
    }

    /// Whether something is held.
    pub fn has(&self, what: &T) -> bool {
        self.held.iter().any(|held| held.what == *what)
    }

    /// The numbers of the picture that begins with `slice`; nothing where it cannot be the next one.
    pub fn begin(&self, slice: &Slice, sequence: &SequenceParameters) -> Option<Current> {
        let number = u32::from(slice.frame_number);
        let most = 1 << sequence.frame_number_bits;
        let is_key = slice.restart.is_some();
        let is_reference = slice.marking != Marking::Unused;
        let before = match is_key {
            true if number != 0 => return None,
            true => Before::default(),
            false => self.before?,
        };
        // A number that was left out is a picture that was lost.
        if !is_key && number != (before.reference + 1) % most {
            return None;
        }
        let began_again = before.frame_number > number;
        let offset = before
            .offset
            .wrapping_add(if began_again { most } else { 0 });
        let (count, order) = match sequence.order {
            Order::Decoding => {
                let twice = offset.wrapping_add(number).wrapping_mul(2);
                let order = twice.wrapping_sub(u32::from(!is_reference)) as i32;
                ((0, 0), (order, order))
            }
            Order::Count { bits } => {
                let count = counted(before.count, slice.count.into(), 1 << bits);
                let top = count.0.wrapping_add(count.1) as i32;
                (count, (top, top.wrapping_add(slice.bottom_count)))
            }
        };
        let after = Before {
            frame_number: number,
            offset,
            reference: if is_reference {
                number
            } else {
                before.reference
            },
            count: if is_reference { count } else { before.count },
        };
        Some(Current {
            frame_number: slice.frame_number,
            order,
            is_key,
            is_reference,
            after,
        })
    }

    /// Puts the list that a predicted slice builds on in place of what `list` holds, its first entry
    /// first; nothing where it names a picture that is not held, or where none is.
    pub fn list(
        &self,
        slice: &Slice,
        sequence: &SequenceParameters,
        picture: &PictureParameters,
        list: &mut Vec<Held<T>>,
    ) -> Option<()> {
        let most = 1i32 << sequence.frame_number_bits;
        let current = i32::from(slice.frame_number);
        let number = |held: &Held<T>| match i32::from(held.frame_number) {
            number if number > current => number - most,
            number => number,
        };
        self.held.clone_into(list);
        list.sort_unstable_by_key(|held| -number(held));
        let mut predicted = current;
        for (at, (is_added, less_one)) in slice.reordering.iter().enumerate() {
            let difference = i32::try_from(*less_one).ok()?.checked_add(1)?;
            if difference > most {
                return None;
            }
            predicted = match is_added {
                true => (predicted + difference) % most,
                false => (predicted - difference).rem_euclid(most),
            };
            let wanted = match predicted > current {
                true => predicted - most,
                false => predicted,
            };
            let found = *self.held.iter().find(|held| number(held) == wanted)?;
            let at = at.min(list.len());
            list.insert(at, found);
            let mut index = 0;
            list.retain(|held| {
                index += 1;
                index - 1 <= at || held.what != found.what
            });
        }
        let active = slice.references.unwrap_or(picture.references);
        list.truncate(active.into());
        (!list.is_empty()).then_some(())
    }

    /// The picture was decoded and lies in `what`.
    pub fn end(
        &mut self,
        current: &Current,
        slice: &Slice,
        sequence: &SequenceParameters,
        what: T,
    ) {
        self.before = Some(current.after);
        match &slice.marking {
            Marking::Unused => return,
            Marking::Restart => self.held.clear(),
            Marking::Sliding => {}
            Marking::Forget(back) => {
                let most = 1u32 << sequence.frame_number_bits;
                // Powers of two divide what wraps around.
                let number = u32::from(current.frame_number);
                let gone = |held: &Held<T>| {
                    let age = number.wrapping_sub(held.frame_number.into()) % most;
                    back.iter().any(|less_one| less_one.wrapping_add(1) == age)
                };
                self.held.retain(|held| !gone(held));
            }
        }
        let room = usize::from(sequence.references.max(1)) - 1;
        let too_many = self.held.len().saturating_sub(room);
        self.held.drain(..too_many);
        self.held.push(Held {
            what,
            frame_number: current.frame_number,
            order: current.order,
        });
    }
}

/// Upper and lower bits of a count of which the lower are told, `most` of them.
fn counted(before: (u32, u32), lower: u32, most: u32) -> (u32, u32) {
    let (upper, last) = before;
    let upper = if lower < last && last - lower >= most / 2 {
        upper.wrapping_add(most)
    } else if lower > last && lower - last > most / 2 {
        upper.wrapping_sub(most)
    } else {
        upper
    };
    (upper, lower)
}

#[cfg(test)]
mod tests {
    use heliostat_video::Size;
    use heliostat_video::syntax::{Profile, SliceKind};
    use proptest::prelude::*;

    use super::*;

    fn sequence(references: u8) -> SequenceParameters {
        let mut sequence = SequenceParameters::new(Size { w: 64, h: 48 }, Profile::Main, 30);
        sequence.frame_number_bits = 4;
        sequence.references = references;
        sequence
    }

    fn slice(number: u16, marking: Marking) -> Slice {
        let is_key = marking == Marking::Restart;
        Slice {
            first_block: 0,
            kind: if is_key {
                SliceKind::Intra
            } else {
                SliceKind::Predicted
            },
            picture: 0,
            frame_number: number,
            restart: is_key.then_some(0),
            count: 0,
            bottom_count: 0,
            references: Some(16),
            reordering: Default::default(),
            marking,
            arithmetic_table: 0,
            quantizer_delta: 0,
            deblocking: (0, 0, 0),
        }
    }

    proptest! {
        #[test]
        fn newest_pictures_are_held_and_listed_in_front(
            kinds in prop::collection::vec(any::<bool>(), 0..60),
            room in 1u8..5,
        ) {
            let (sequence, picture) = (sequence(room), PictureParameters::default());
            let mut references = References::default();
            let first = slice(0, Marking::Restart);
            let current = references.begin(&first, &sequence).unwrap();
            references.end(&current, &first, &sequence, 0);
            let (mut model, mut number, mut before) = (vec![0], 0u16, (true, 0));
            for (index, is_reference) in kinds.into_iter().enumerate() {
                number += 1;
                let marking = if is_reference { Marking::Sliding } else { Marking::Unused };
                let slice = slice(number % 16, marking);
                let lost = self::slice((number + 1) % 16, Marking::Sliding);
                prop_assert_eq!(references.begin(&lost, &sequence), None);
                let current = references.begin(&slice, &sequence).unwrap();
                // Only two pictures in a row that nothing builds on are alike, which the standard forbids.
                let is_after = current.order.0 > before.1 || !is_reference && !before.0;
                prop_assert!(is_after, "{:?} after {:?}", current, before);
                before = (is_reference, current.order.0);
                let mut list = Vec::new();
                references.list(&slice, &sequence, &picture, &mut list).unwrap();
                let list: Vec<_> = list.iter().map(|held| held.what).collect();
                let newest: Vec<_> = model.iter().rev().copied().collect();
                prop_assert_eq!(list, newest);
                references.end(&current, &slice, &sequence, index + 1);
                if is_reference {
                    model.push(index + 1);
                    let too_many = model.len().saturating_sub(room.into());
                    model.drain(..too_many);
                } else {
                    number -= 1;
                }
            }
        }

        #[test]
        fn any_numbers_make_a_list_or_none(
            numbers in prop::collection::vec(0u16..16, 1..20),
            reordering in prop::collection::vec((any::<bool>(), 0u32..1 << 24), 0..6),
            back in prop::collection::vec(any::<u32>(), 0..3),
        ) {
            let (sequence, picture) = (sequence(4), PictureParameters::default());
            let mut references = References::default();
            let first = slice(0, Marking::Restart);
            let current = references.begin(&first, &sequence).unwrap();
            references.end(&current, &first, &sequence, 0);
            for (index, number) in numbers.into_iter().enumerate() {
                let mut slice = slice(number, Marking::Forget(back.clone()));
                slice.reordering = reordering[..].into();
                let _ = references.list(&slice, &sequence, &picture, &mut Vec::new());
                if let Some(current) = references.begin(&slice, &sequence) {
                    references.end(&current, &slice, &sequence, index);
                }
                prop_assert!(references.held().len() <= 4);
            }
        }
    }

    #[test]
    fn list_is_put_in_order_and_pictures_are_forgotten_as_told() {
        let (sequence, picture) = (sequence(4), PictureParameters::default());
        let mut references = References::default();
        for number in 0..4 {
            let marking = if number == 0 {
                Marking::Restart
            } else {
                Marking::Sliding
            };
            let slice = slice(number, marking);
            let current = references.begin(&slice, &sequence).unwrap();
            references.end(&current, &slice, &sequence, number);
        }
        let mut next = slice(4, Marking::Forget(vec![1]));
        let list = |references: &References<u16>, slice: &Slice| {
            let mut list = Vec::new();
            references
                .list(slice, &sequence, &picture, &mut list)
                .unwrap();
            list.iter().map(|held| held.what).collect::<Vec<_>>()
        };
        assert_eq!(list(&references, &next), [3, 2, 1, 0]);
        // Three back, then one on.
        next.reordering = [(false, 2), (true, 0)][..].into();
        assert_eq!(list(&references, &next), [1, 2, 3, 0]);
        next.references = Some(2);
        assert_eq!(list(&references, &next), [1, 2]);
        let current = references.begin(&next, &sequence).unwrap();
        references.end(&current, &next, &sequence, 4);
        let held: Vec<_> = references.held().iter().map(|held| held.what).collect();
        assert_eq!(held, [0, 1, 3, 4]);
    }

    #[test]
    fn count_goes_on_where_its_lower_bits_begin_again() {
        assert_eq!(counted((0, 14), 0, 16), (16, 0));
        assert_eq!(counted((16, 2), 6, 16), (16, 6));
        assert_eq!(counted((16, 1), 15, 16), (0, 15));
    }
}
