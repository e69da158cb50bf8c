//! What a driver is told of a picture beside its parameters, where it offers to hear it.
//!
//! Dirty rectangles say what has changed since the picture before: the driver need not look at the rest.
//! Where only regions of interest are offered, they get what changes a finer quantizer than the driver
//! would choose for it, when that is little. And pictures that did not come have left bits over.

use crate::abi::{
    self, EncMisc, EncMiscDirtyRect, EncMiscRoi, EncMiscSkipFrame, EncRoi, Rectangle, buffer, misc,
};
use crate::library::{Buffer, Context, Error};
use crate::probe::Hears;
use crate::sys::plain::zeroed;

use super::changes::{Area, Changes, MOST};
use super::parameters::Turn;

/// Pictures after a key that are encoded wholly: a key that is bounded in size is coarse, and what
/// nobody looks at again stays so.
const SETTLING: u32 = 16;
/// After those one in so many is, for the same reason: what has changed was coarse for the link's sake.
const WHOLE: u32 = 16;
/// So much of a picture is all of it, in percent.
const NEARLY_ALL: u64 = 75;
/// So much is little.
const LITTLE: u64 = 25;
/// By how much the quantizer is finer of what little changes: about 1.6 times the bits.
const FINER: i8 = -4;
/// More pictures than this that did not come have left nothing over: what comes at once is waited for,
/// and is no more than what four pictures may have.
const MOST_LEFT_OUT: u8 = 3;

/// What is told. Drivers are given pointers into it: it stays where it is until a picture is submitted.
#[derive(Debug)]
pub(super) struct Told {
    rectangles: [Rectangle; MOST],
    regions: [EncRoi; MOST],
    what: What,
    left_out: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Nothing,
    /// So many rectangles have changed, and nothing beside them.
    Dirty(usize),
    /// So many regions are of interest.
    Interest(usize),
}

impl Default for Told {
    fn default() -> Self {
        Self {
            rectangles: [zeroed(); MOST],
            regions: [zeroed(); MOST],
            what: What::Nothing,
            left_out: 0,
        }
    }
}

impl Told {
    /// Decides what is told of the next picture, before which so many others did not come.
    pub fn decide(
        &mut self,
        hears: Hears,
        turn: &Turn,
        (changes, of): (&mut Changes, u64),
        left_out: u8,
    ) {
        let hears_of_left_out = hears.left_out && !turn.is_key;
        self.left_out = match hears_of_left_out {
            true => left_out.min(MOST_LEFT_OUT),
            false => 0,
        };
        self.what = What::Nothing;
        let is_whole = turn.is_key || turn.number <= SETTLING || turn.number.is_multiple_of(WHOLE);
        let (rectangles, regions) = (
            usize::from(hears.dirty_rectangles),
            usize::from(hears.regions),
        );
        if rectangles > 0 && !is_whole {
            let parts = changes.parts(rectangles).unwrap_or_default();
            if is_at_most(parts, of, NEARLY_ALL) {
                self.what = What::Dirty(parts.len());
                fill(&mut self.rectangles, parts, rectangle);
            }
        } else if rectangles == 0 && regions > 0 && !turn.is_key {
            let parts = changes.parts(regions).unwrap_or_default();
            if is_at_most(parts, of, LITTLE) {
                self.what = What::Interest(parts.len());
                fill(&mut self.regions, parts, |area| EncRoi {
                    roi_rectangle: rectangle(area),
                    roi_value: FINER,
                });
            }
        }
    }

    /// Makes the buffers that say so. They come behind the picture's parameters, with which some
    /// drivers forget what was told before.
    pub fn describe(&self, context: &Context, buffers: &mut Vec<Buffer>) -> Result<(), Error> {
        let kind = buffer::ENC_MISC_PARAMETER;
        match self.what {
            What::Nothing => {}
            What::Dirty(count) => {
                let told = dirty(&self.rectangles[..count]);
                buffers.push(context.create_buffer(kind, &told)?);
            }
            What::Interest(count) => {
                let told = interest(&self.regions[..count]);
                buffers.push(context.create_buffer(kind, &told)?);
            }
        }
        if self.left_out > 0 {
            buffers.push(context.create_buffer(kind, &skipped(self.left_out))?);
        }
        Ok(())
    }
}

/// Whether there are parts, and they are no more than so many percent of a picture. What they share
/// counts twice.
fn is_at_most(parts: &[Area], of: u64, percent: u64) -> bool {
    let pixels: u64 = parts.iter().map(|part| part.pixels()).sum();
    !parts.is_empty() && pixels * 100 <= of * percent
}

fn fill<T>(places: &mut [T; MOST], parts: &[Area], make: impl Fn(Area) -> T) {
    for (place, part) in places.iter_mut().zip(parts) {
        *place = make(*part);
    }
}

/// Sides of videos are far below what fits.
fn rectangle(area: Area) -> Rectangle {
    let place = |at: u32| i16::try_from(at).unwrap_or(i16::MAX);
    let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    Rectangle {
        x: place(area.x),
        y: place(area.y),
        width: side(area.w),
        height: side(area.h),
    }
}

fn dirty(rectangles: &[Rectangle]) -> EncMisc<EncMiscDirtyRect> {
    let mut value: EncMiscDirtyRect = zeroed();
    value.num_roi_rectangle = rectangles.len() as u32;
    value.roi_rectangle = rectangles.as_ptr();
    EncMisc {
        kind: misc::DIRTY_RECT,
        value,
    }
}

fn interest(regions: &[EncRoi]) -> EncMisc<EncMiscRoi> {
    let mut value: EncMiscRoi = zeroed();
    value.num_roi = regions.len() as u32;
    (value.min_delta_qp, value.max_delta_qp) = (FINER, 0);
    value.roi = regions.as_ptr();
    value.roi_flags = abi::ROI_VALUE_IS_QP_DELTA;
    EncMisc {
        kind: misc::ROI,
        value,
    }
}

fn skipped(count: u8) -> EncMisc<EncMiscSkipFrame> {
    let mut value: EncMiscSkipFrame = zeroed();
    (value.skip_frame_flag, value.num_skip_frames) = (abi::SKIPPED_BEFORE, count);
    EncMisc {
        kind: misc::SKIP_FRAME,
        value,
    }
}

#[cfg(test)]
mod tests {
    use heliostat_video::Size;

    use super::*;

    const SIZE: Size = Size { w: 640, h: 480 };
    const ALL: Hears = Hears {
        dirty_rectangles: 4,
        regions: 8,
        left_out: true,
    };

    /// What is told of picture `number` where a square of `side` pixels has changed.
    fn told(hears: Hears, number: u32, side: u32) -> Told {
        let (mut changes, mut told) = (Changes::new(SIZE), Told::default());
        changes.encoded();
        let (x, y, w, h) = (16, 16, side, side);
        changes.given(Some(&[Area { x, y, w, h }]));
        let turn = Turn {
            number,
            is_key: number == 0,
            ..Turn::default()
        };
        told.decide(hears, &turn, (&mut changes, SIZE.area() as u64), 9);
        told
    }

    #[test]
    fn picture_is_told_in_parts_but_for_keys_what_follows_them_and_one_in_a_while() {
        let in_part = |number: &u32| told(ALL, *number, 100).what != What::Nothing;
        let whole: Vec<u32> = (0..50).filter(|number| !in_part(number)).collect();
        let expected: Vec<u32> = (0..=SETTLING).chain([32, 48]).collect();
        assert_eq!(whole, expected);
        assert_eq!(told(ALL, 17, 100).what, What::Dirty(1));
        assert_eq!(told(ALL, 17, 400).what, What::Dirty(1));
        assert_eq!(told(ALL, 17, 640).what, What::Nothing);
        assert_eq!(told(ALL, 17, 0).what, What::Nothing);
    }

    #[test]
    fn regions_are_told_where_dirty_rectangles_are_not_and_little_has_changed() {
        let hears = Hears {
            dirty_rectangles: 0,
            ..ALL
        };
        assert_eq!(told(hears, 1, 100).what, What::Interest(1));
        assert_eq!(told(hears, 0, 100).what, What::Nothing);
        assert_eq!(told(hears, 1, 400).what, What::Nothing);
        assert_eq!(told(Hears::default(), 17, 100).what, What::Nothing);
    }

    #[test]
    fn pictures_that_did_not_come_leave_no_more_over_than_what_may_come_at_once() {
        assert_eq!(told(ALL, 1, 100).left_out, MOST_LEFT_OUT);
        assert_eq!(told(ALL, 0, 100).left_out, 0);
        assert_eq!(told(Hears::default(), 1, 100).left_out, 0);
    }
}
