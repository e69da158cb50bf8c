//! What a client tells of one picture besides: what of it has changed, what of it is of interest, and
//! how many pictures it has left out before.
//!
//! A driver may rely on it. So what is outside of what has changed is compared with the picture before,
//! and regions are held against what is offered; OpenH264 itself knows nothing of either.

use crate::refusal::{Done, refuse};
use crate::sys::plain::read;
use crate::va::{self, EncRoi, Rectangle, misc, status};

/// Regions of interest of a picture.
pub const MAX_REGIONS: u32 = 8;
/// Dirty rectangles of a picture, as many as Intel's driver takes.
pub const MAX_RECTANGLES: u32 = 4;
/// How far regions' quantizers may be from the picture's.
const QP_DELTAS: std::ops::RangeInclusive<i8> = -8..=7;
/// What samples of a picture may differ by that has not changed: whoever draws by a device and draws
/// only what has changed comes so near to what was there.
const ALIKE: u8 = 2;

/// Ways of choosing quantizers, `VA_RC_*`.
pub const RATES: u32 = va::RC_CQP | va::RC_CBR | va::RC_VBR;

/// What `VAEntrypointEncSliceLP` can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LowPower {
    /// What the other entry point does as well.
    Whole,
    /// Constant quantizers only, as Intel's without firmware.
    Constant,
}

impl LowPower {
    /// Its ways of choosing quantizers.
    pub fn rates(self) -> u32 {
        match self {
            Self::Whole => RATES,
            Self::Constant => va::RC_CQP,
        }
    }
}

/// Which of that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offers {
    /// Regions of interest.
    pub regions: bool,
    /// Dirty rectangles.
    pub rectangles: bool,
    /// Pictures that were left out.
    pub left_out: bool,
    /// An entry point for low power, where there is one.
    pub low_power: Option<LowPower>,
}

impl Default for Offers {
    fn default() -> Self {
        Self {
            regions: true,
            rectangles: true,
            left_out: true,
            low_power: None,
        }
    }
}

impl Offers {
    /// All but those in a list, as `regions,dirty-rectangles,skipped-pictures`. Other names are an error:
    /// a test that misspells one would otherwise pass for the wrong reason.
    pub fn without(list: &str) -> Result<Self, String> {
        let mut offers = Self::default();
        let items = list.split(',').map(str::trim);
        for item in items.filter(|item| !item.is_empty()) {
            match item {
                "regions" => offers.regions = false,
                "dirty-rectangles" => offers.rectangles = false,
                "skipped-pictures" => offers.left_out = false,
                _ => return Err(format!("{item:?} is nothing that can be lacking")),
            }
        }
        Ok(offers)
    }

    /// These, and what a list has besides: `low-power` or `low-power-constant`.
    pub fn with(mut self, list: &str) -> Result<Self, String> {
        let items = list.split(',').map(str::trim);
        for item in items.filter(|item| !item.is_empty()) {
            self.low_power = Some(match item {
                "low-power" => LowPower::Whole,
                "low-power-constant" => LowPower::Constant,
                _ => return Err(format!("{item:?} is nothing that can be had besides")),
            });
        }
        Ok(self)
    }
}

/// Follows what a client points at.
pub trait Pointers {
    /// So many rectangles; none where it points nowhere.
    fn rectangles(&self, at: *const Rectangle, count: usize) -> Option<Vec<Rectangle>>;
    /// So many regions; none where it points nowhere.
    fn regions(&self, at: *const EncRoi, count: usize) -> Option<Vec<EncRoi>>;
}

/// What was told of a picture.
#[derive(Debug, Default)]
pub struct Told {
    rectangles: Option<Vec<Rectangle>>,
    regions: Option<Regions>,
    left_out: Option<u8>,
}

#[derive(Debug)]
struct Regions {
    all: Vec<EncRoi>,
    bounds: (i8, i8),
    are_deltas: bool,
}

/// How often what was told.
#[derive(Debug, Default)]
pub struct Tally {
    pictures: u64,
    rectangles: u64,
    regions: u64,
    after_left_out: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} pictures encoded: {} with dirty rectangles, {} with regions of interest, {} after \
             others that were skipped",
            self.pictures, self.rectangles, self.regions, self.after_left_out
        )
    }
}

impl Told {
    /// Whether miscellaneous parameters of this type are of one picture only.
    pub fn is_of(kind: u32) -> bool {
        [misc::ROI, misc::DIRTY_RECT, misc::SKIP_FRAME].contains(&kind)
    }

    /// Takes what a buffer of miscellaneous parameters holds behind its type.
    pub fn take(
        &mut self,
        (kind, body): (u32, &[u8]),
        offers: Offers,
        pointers: &impl Pointers,
    ) -> Done {
        let (is_offered, is_there) = match kind {
            misc::ROI => (offers.regions, self.regions.is_some()),
            misc::DIRTY_RECT => (offers.rectangles, self.rectangles.is_some()),
            _ => (offers.left_out, self.left_out.is_some()),
        };
        if !is_offered {
            return refuse(
                status::UNSUPPORTED_BUFFERTYPE,
                format!("miscellaneous parameters of type {kind} are not offered"),
            );
        }
        if is_there {
            return refuse(
                status::INVALID_PARAMETER,
                format!("miscellaneous parameters of type {kind} twice for one picture"),
            );
        }
        match kind {
            misc::ROI => self.take_regions(&exact(body)?, pointers),
            misc::DIRTY_RECT => self.take_rectangles(&exact(body)?, pointers),
            _ => self.take_left_out(&exact(body)?),
        }
    }

    fn take_regions(&mut self, told: &va::EncMiscRoi, pointers: &impl Pointers) -> Done {
        let count = count(told.num_roi, MAX_REGIONS, "regions of interest")?;
        let Some(all) = pointers.regions(told.roi, count) else {
            return refuse(status::INVALID_PARAMETER, "regions of interest at null");
        };
        if told.roi_flags & !va::ROI_VALUE_IS_QP_DELTA != 0 || told.va_reserved != [0; 4] {
            return refuse(
                status::INVALID_PARAMETER,
                "regions of interest with reserved bits",
            );
        }
        self.regions = Some(Regions {
            all,
            bounds: (told.min_delta_qp, told.max_delta_qp),
            are_deltas: told.roi_flags == va::ROI_VALUE_IS_QP_DELTA,
        });
        Ok(())
    }

    fn take_rectangles(&mut self, told: &va::EncMiscDirtyRect, pointers: &impl Pointers) -> Done {
        let count = count(told.num_roi_rectangle, MAX_RECTANGLES, "dirty rectangles")?;
        let Some(all) = pointers.rectangles(told.roi_rectangle, count) else {
            return refuse(status::INVALID_PARAMETER, "dirty rectangles at null");
        };
        self.rectangles = Some(all);
        Ok(())
    }

    fn take_left_out(&mut self, told: &va::EncMiscSkipFrame) -> Done {
        let left_out = match (told.skip_frame_flag, told.num_skip_frames) {
            (0, 0) => 0,
            (va::SKIPPED_BEFORE, 0) => {
                return refuse(
                    status::INVALID_PARAMETER,
                    "pictures were skipped, and none of them",
                );
            }
            (va::SKIPPED_BEFORE, count) => count,
            (flag, count) => {
                return refuse(
                    status::INVALID_PARAMETER,
                    format!(
                        "skipped pictures with flag {flag} and number {count}: only those before \
                         this one can be told, for none is packed that others have coded"
                    ),
                );
            }
        };
        if told.va_reserved != [0; 4] {
            return refuse(
                status::INVALID_PARAMETER,
                "skipped pictures with reserved bits",
            );
        }
        self.left_out = Some(left_out);
        Ok(())
    }

    /// Holds it against a picture of `size`, which is a key or not, where quantizers are chosen by `mode`.
    pub fn check(&self, size: (u32, u32), is_key: bool, mode: u32) -> Done {
        let rectangles = self.rectangles.iter().flatten();
        let regions = self.regions.iter().flat_map(|regions| &regions.all);
        let all = rectangles.chain(regions.map(|region| &region.roi_rectangle));
        for rectangle in all {
            if !is_inside(rectangle, size) {
                return refuse(
                    status::INVALID_PARAMETER,
                    format!("{rectangle:?} is not in a picture of {size:?} pixels"),
                );
            }
        }
        if is_key && self.rectangles.is_some() {
            return refuse(
                status::INVALID_PARAMETER,
                "dirty rectangles in an intra picture, which builds on none before it",
            );
        }
        if mode == va::RC_CQP && self.left_out.is_some() {
            return refuse(
                status::INVALID_PARAMETER,
                "skipped pictures in a configuration of constant quantizers",
            );
        }
        match &self.regions {
            Some(regions) => regions.check(mode),
            None => Ok(()),
        }
    }

    /// Compares what is said not to have changed of a picture of `size` pixels, in planes of `coded` ones,
    /// with the picture before.
    pub fn compare(
        &self,
        (size, coded): ((u32, u32), (u32, u32)),
        planes: &[Vec<u8>; 3],
        before: Option<&[Vec<u8>; 3]>,
    ) -> Done {
        let Some(rectangles) = &self.rectangles else {
            return Ok(());
        };
        let alike =
            |before: &[Vec<u8>; 3]| planes.iter().map(Vec::len).eq(before.iter().map(Vec::len));
        let Some(before) = before.filter(|before| alike(before)) else {
            return refuse(
                status::INVALID_PARAMETER,
                "dirty rectangles, and no picture before of that size",
            );
        };
        for (plane, (new, old)) in planes.iter().zip(before).enumerate() {
            let shift = u32::from(plane > 0);
            let covered: Vec<_> = rectangles
                .iter()
                .map(|rectangle| samples(rectangle, size, coded, shift))
                .collect();
            let width = (coded.0 >> shift) as usize;
            let rows = new.chunks_exact(width).zip(old.chunks_exact(width));
            for (y, (new, old)) in rows.enumerate() {
                if let Some(x) = differs(new, old, y, &covered) {
                    return refuse(
                        status::INVALID_PARAMETER,
                        format!(
                            "sample ({x}, {y}) of plane {plane} has become {} from {} outside of all \
                             dirty rectangles",
                            new[x], old[x]
                        ),
                    );
                }
            }
        }
        Ok(())
    }

    /// So many pictures had time before this one.
    pub fn left_out(&self) -> u8 {
        self.left_out.unwrap_or(0)
    }
}

impl Tally {
    /// A picture was encoded of which that was told.
    pub fn count(&mut self, told: &Told) {
        self.pictures += 1;
        self.rectangles += u64::from(told.rectangles.is_some());
        self.regions += u64::from(told.regions.is_some());
        self.after_left_out += u64::from(told.left_out() > 0);
    }
}

impl Regions {
    fn check(&self, mode: u32) -> Done {
        let is_bounded = mode != va::RC_CQP;
        if is_bounded && !self.are_deltas {
            return refuse(
                status::INVALID_PARAMETER,
                "regions of interest by priority, and only differences of quantizers are offered",
            );
        }
        let (least, most) = match is_bounded {
            true => self.bounds,
            false => (*QP_DELTAS.start(), *QP_DELTAS.end()),
        };
        let are_bounds = least <= most && QP_DELTAS.contains(&least) && QP_DELTAS.contains(&most);
        let mut values = self.all.iter().map(|region| region.roi_value);
        match values.find(|value| !are_bounds || !(least..=most).contains(value)) {
            Some(value) => refuse(
                status::INVALID_VALUE,
                format!(
                    "a region {value} from the picture's quantizer, within {least} and {most}: \
                     {QP_DELTAS:?} is offered"
                ),
            ),
            None => Ok(()),
        }
    }
}

fn count(told: u32, most: u32, what: &str) -> Done<usize> {
    match told {
        told if (1..=most).contains(&told) => Ok(told as usize),
        told => refuse(
            status::MAX_NUM_EXCEEDED,
            format!("{told} {what}, and 1 to {most} are offered"),
        ),
    }
}

fn is_inside(rectangle: &Rectangle, size: (u32, u32)) -> bool {
    let side = |at: i16, length: u16, of: u32| {
        let at = u32::try_from(at).ok();
        length > 0 && at.is_some_and(|at| at + u32::from(length) <= of)
    };
    side(rectangle.x, rectangle.width, size.0) && side(rectangle.y, rectangle.height, size.1)
}

/// Columns and rows of samples that a rectangle has some part in. At the picture's edges it has those
/// beyond as well, which repeat the last ones.
fn samples(
    rectangle: &Rectangle,
    size: (u32, u32),
    coded: (u32, u32),
    shift: u32,
) -> [std::ops::Range<usize>; 2] {
    let side = |at: i16, length: u16, size: u32, coded: u32| {
        let at = u32::try_from(at).unwrap_or(0);
        let end = at + u32::from(length);
        let end = if end >= size { coded } else { end };
        (at >> shift) as usize..end.div_ceil(1 << shift) as usize
    };
    [
        side(rectangle.x, rectangle.width, size.0, coded.0),
        side(rectangle.y, rectangle.height, size.1, coded.1),
    ]
}

/// The first sample of a row that is not alike and not covered.
fn differs(
    new: &[u8],
    old: &[u8],
    y: usize,
    covered: &[[std::ops::Range<usize>; 2]],
) -> Option<usize> {
    if new == old {
        return None;
    }
    let is_covered = |x: usize| {
        let mut covered = covered.iter();
        covered.any(|[columns, rows]| columns.contains(&x) && rows.contains(&y))
    };
    let mut pairs = new.iter().zip(old).enumerate();
    let found = pairs.find(|(x, (new, old))| new.abs_diff(**old) > ALIKE && !is_covered(*x));
    found.map(|(x, _)| x)
}

fn exact<T: crate::sys::plain::Plain>(body: &[u8]) -> Done<T> {
    match read(body) {
        Some(value) if body.len() == size_of::<T>() => Ok(value),
        _ => refuse(
            status::INVALID_BUFFER,
            format!("miscellaneous parameters of {} bytes", body.len()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named_or_refused() {
        let lacks = Offers::without("regions, skipped-pictures").unwrap();
        assert!(!lacks.regions && lacks.rectangles && !lacks.left_out);
        assert_eq!(Offers::without(""), Ok(Offers::default()));
        assert!(Offers::without("region").is_err());
    }

    #[test]
    fn change_beside_what_is_dirty_is_seen_and_beyond_the_edge_is_none() {
        let (size, coded) = ((30, 20), (32, 32));
        let before = [vec![9; 32 * 32], vec![9; 256], vec![9; 256]];
        let told = |x, y, width, height| Told {
            rectangles: Some(vec![Rectangle {
                x,
                y,
                width,
                height,
            }]),
            ..Told::default()
        };
        let with = |plane: usize, at: usize, value| {
            let mut planes = before.clone();
            planes[plane][at] = value;
            planes
        };
        let compare = |told: &Told, planes: &[Vec<u8>; 3]| {
            told.compare((size, coded), planes, Some(&before)).is_ok()
        };
        let (middle, corner) = (told(8, 8, 8, 8), told(16, 8, 14, 12));
        assert!(compare(&middle, &with(0, 8 * 32 + 8, 99)));
        assert!(compare(&middle, &with(0, 15 * 32 + 15, 99)));
        assert!(!compare(&middle, &with(0, 8 * 32 + 7, 99)));
        assert!(!compare(&middle, &with(0, 16 * 32 + 8, 99)));
        assert!(compare(&middle, &with(0, 0, 9 + ALIKE)));
        assert!(!compare(&middle, &with(0, 0, 10 + ALIKE)));
        assert!(compare(&middle, &with(1, 4 * 16 + 4, 99)));
        assert!(!compare(&middle, &with(2, 3 * 16 + 4, 99)));
        assert!(compare(&corner, &with(0, 31 * 32 + 31, 99)));
        assert!(!compare(&middle, &with(0, 31 * 32 + 31, 99)));
        assert!(middle.compare((size, coded), &before, None).is_err());
    }
}
