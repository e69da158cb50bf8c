//! Whatever a client calls, in whatever order and with whatever numbers: the driver answers, and holds
//! nothing when the client has cleaned up.

use heliostat_drv_video::driver::Driver;
use heliostat_drv_video::driver::pictures::{Client as Memory, Conversion};
use heliostat_drv_video::driver::surfaces::Wish;
use heliostat_drv_video::h264::told::{Offers, Pointers};
use heliostat_drv_video::journal::{Faults, Log};
use heliostat_drv_video::sys::plain::{to_bytes, zeroed};
use heliostat_drv_video::va::{self, Id, buffer, fourcc};
use proptest::prelude::*;

/// Numbers that a client uses: some that it was given, or any.
#[derive(Debug, Clone)]
enum Name {
    Given(prop::sample::Index),
    Any(Id),
}

#[derive(Debug, Clone)]
enum Op {
    Config(usize),
    Context(Name, Vec<Name>),
    Surfaces(bool, u32, u32, usize),
    Buffer(Name, i32, usize, Vec<u8>),
    Convert(Name, Name, (i16, i16, u16, u16)),
    Begin(Name, Name),
    Render(Name, Name),
    End(Name),
    Sync(Name),
    SyncBuffer(Name),
    Status(Name),
    Map(Name),
    Unmap(Name),
    Derive(Name),
    Image(u32, i32, i32),
    Get(Name, Name, (i32, i32, u32, u32)),
    Put(Name, Name, (i32, i32, u32, u32)),
    Destroy(usize, Name),
}

/// Configurations that there are.
const CONFIGS: [(i32, i32); 4] = [(-1, 10), (13, 6), (6, 1), (7, 6)];
/// Types of buffers, some of which have their right size.
const KINDS: [i32; 6] = [0, 4, 5, 21, 27, buffer::PROC_PIPELINE_PARAMETER];

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        12 => any::<prop::sample::Index>().prop_map(Name::Given),
        1 => any::<Id>().prop_map(Name::Any),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let region = || (-4i32..70, -4i32..70, 0u32..80, 0u32..80);
    let data = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        (0..CONFIGS.len()).prop_map(Op::Config),
        (name(), prop::collection::vec(name(), 0..2)).prop_map(|(c, t)| Op::Context(c, t)),
        (any::<bool>(), 0u32..70, 0u32..70, 0usize..3)
            .prop_map(|(rgb, w, h, n)| Op::Surfaces(rgb, w, h, n)),
        (
            name(),
            prop::sample::select(KINDS.to_vec()),
            0usize..300,
            data
        )
            .prop_map(|(c, k, n, d)| Op::Buffer(c, k, n, d)),
        (
            name(),
            name(),
            (any::<i16>(), -4i16..40, 0u16..70, 0u16..70)
        )
            .prop_map(|(c, s, r)| Op::Convert(c, s, r)),
        (name(), name()).prop_map(|(c, s)| Op::Begin(c, s)),
        (name(), name()).prop_map(|(c, b)| Op::Render(c, b)),
        name().prop_map(Op::End),
        name().prop_map(Op::Sync),
        name().prop_map(Op::SyncBuffer),
        name().prop_map(Op::Status),
        name().prop_map(Op::Map),
        name().prop_map(Op::Unmap),
        name().prop_map(Op::Derive),
        (
            prop::sample::select(vec![fourcc(b"NV12"), fourcc(b"BGRX"), 7]),
            -2i32..70,
            0i32..70
        )
            .prop_map(|(f, w, h)| Op::Image(f, w, h)),
        (name(), name(), region()).prop_map(|(s, i, r)| Op::Get(s, i, r)),
        (name(), name(), region()).prop_map(|(s, i, r)| Op::Put(s, i, r)),
        (0usize..5, name()).prop_map(|(kind, id)| Op::Destroy(kind, id)),
    ]
}

/// What parameters point at, whatever their pointers are.
struct Pointed(Option<va::Rectangle>);

impl Pointers for Pointed {
    fn rectangles(&self, _: *const va::Rectangle, count: usize) -> Option<Vec<va::Rectangle>> {
        self.0.map(|rectangle| vec![rectangle; count])
    }

    fn regions(&self, _: *const va::EncRoi, count: usize) -> Option<Vec<va::EncRoi>> {
        self.0.map(|roi_rectangle| {
            let roi_value = roi_rectangle.width as i8;
            vec![
                va::EncRoi {
                    roi_rectangle,
                    roi_value
                };
                count
            ]
        })
    }
}

impl Memory for Pointed {
    fn conversion(&self, parameters: va::ProcPipelineParameter) -> Conversion {
        Conversion {
            parameters,
            from: self.0,
            into: None,
        }
    }
}

/// A client that remembers what it was given.
struct Client {
    driver: Driver,
    given: Vec<Id>,
}

impl Client {
    fn id(&self, name: &Name) -> Id {
        match name {
            Name::Given(index) if !self.given.is_empty() => *index.get(&self.given),
            Name::Given(_) => 0,
            Name::Any(id) => *id,
        }
    }

    fn keep(&mut self, ids: impl IntoIterator<Item = Id>) {
        for id in ids {
            assert!(!self.given.contains(&id), "{id:#x} was given twice");
            self.given.push(id);
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Config(index) => {
                let (profile, entrypoint) = CONFIGS[*index];
                let made = self.driver.create_config(profile, entrypoint, &[]);
                self.keep(made);
            }
            Op::Context(config, targets) => {
                let targets: Vec<Id> = targets.iter().map(|target| self.id(target)).collect();
                let made = self
                    .driver
                    .create_context(self.id(config), (64, 64), &targets);
                self.keep(made);
            }
            Op::Surfaces(rgb, width, height, count) => {
                let wish = Wish {
                    rt_format: if *rgb {
                        va::RT_FORMAT_RGB32
                    } else {
                        va::RT_FORMAT_YUV420
                    },
                    size: (*width, *height),
                    ..Wish::default()
                };
                let made = self.driver.create_surfaces(&wish, *count);
                self.keep(made.unwrap_or_default());
            }
            Op::Buffer(context, kind, count, data) => {
                let context = self.id(context);
                let made = self
                    .driver
                    .create_buffer(context, *kind, (1, *count), Some(data));
                self.keep(made);
            }
            Op::Convert(context, surface, (x, y, width, height)) => {
                let context = self.id(context);
                let mut parameters: va::ProcPipelineParameter = zeroed();
                parameters.surface = self.id(surface);
                let region = va::Rectangle {
                    x: *x % 8,
                    y: *y,
                    width: *width,
                    height: *height,
                };
                let bytes = to_bytes(&parameters);
                let kind = buffer::PROC_PIPELINE_PARAMETER;
                let size = (bytes.len(), 1);
                if let Ok(id) = self.driver.create_buffer(context, kind, size, Some(&bytes)) {
                    self.keep([id]);
                    let _ = self
                        .driver
                        .render_buffer(context, id, &Pointed(Some(region)));
                }
            }
            Op::Begin(context, target) => {
                let _ = self.driver.begin_picture(self.id(context), self.id(target));
            }
            Op::Render(context, id) => {
                let (context, id) = (self.id(context), self.id(id));
                let _ = self.driver.render_buffer(context, id, &Pointed(None));
            }
            Op::End(context) => drop(self.driver.end_picture(self.id(context))),
            Op::Sync(surface) => drop(self.driver.sync_surface(self.id(surface))),
            Op::SyncBuffer(id) => drop(self.driver.sync_buffer(self.id(id))),
            Op::Status(surface) => drop(self.driver.surface_status(self.id(surface))),
            Op::Map(id) => drop(self.driver.map_buffer(self.id(id))),
            Op::Unmap(id) => drop(self.driver.unmap_buffer(self.id(id))),
            Op::Derive(surface) => {
                let made = self.driver.derive_image(self.id(surface));
                self.keep(made.iter().flat_map(|image| [image.image_id, image.buf]));
            }
            Op::Image(fourcc, width, height) => {
                let made = self.driver.create_image(*fourcc, *width, *height);
                self.keep(made.iter().flat_map(|image| [image.image_id, image.buf]));
            }
            Op::Get(surface, image, (x, y, w, h)) => {
                let (surface, image) = (self.id(surface), self.id(image));
                let _ = self.driver.get_image(surface, (*x, *y), (*w, *h), image);
            }
            Op::Put(surface, image, (x, y, w, h)) => {
                let (surface, image) = (self.id(surface), self.id(image));
                let from = ((0, 0), (*w, *h));
                let _ = self
                    .driver
                    .put_image(surface, image, from, ((*x, *y), (*w, *h)));
            }
            Op::Destroy(kind, id) => {
                let id = self.id(id);
                self.destroy(*kind, id);
            }
        }
    }

    fn destroy(&mut self, kind: usize, id: Id) {
        let _ = match kind {
            0 => self.driver.destroy_context(id),
            1 => self.driver.destroy_image(id),
            2 => self.driver.destroy_buffer(id),
            3 => self.driver.destroy_surfaces(&[id]),
            _ => self.driver.destroy_config(id),
        };
    }

    /// Ends and destroys everything in the order that is right.
    fn clean_up(&mut self) {
        for id in self.given.clone() {
            drop(self.driver.unmap_buffer(id));
        }
        for kind in 0..5 {
            for id in self.given.clone() {
                self.destroy(kind, id);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_panics_and_nothing_is_left(ops in prop::collection::vec(op(), 1..120)) {
        let driver = Driver::new(Faults::default(), Offers::default(), Log::silent());
        let mut client = Client { driver, given: Vec::new() };
        for op in &ops {
            client.apply(op);
        }
        client.clean_up();
        prop_assert_eq!(client.driver.left(), Vec::<String>::new());
    }
}
