//! The session on the screen: its scene, its cursors, and what has been shown of it.

use std::collections::{BTreeMap, BTreeSet};

use heliostat_link::Frame;
use heliostat_wire::List;
use heliostat_wire::clock::Clock;
use heliostat_wire::id::{AttachId, OutputId, VideoId};
use heliostat_wire::input::{InputBatch, InputEvent};
use heliostat_wire::output::Outputs;
use heliostat_wire::session::ToSession;

use crate::cells::Rounds;
use crate::cursor::Cursors;
use crate::display::{Caption, Shown};
use crate::films::Films;
use crate::geometry::{Damage, Rect};
use crate::planes::{Arrangement, Wanted, Way};
use crate::scene::{Budget, Scene, SceneError};

/// One attach, from its join to its leave.
pub struct Attached {
    /// The attach.
    pub id: AttachId,
    /// What the session has drawn.
    pub scene: Scene,
    /// What the session has defined.
    pub cursors: Cursors,
    /// The newest frame that was applied with all before it.
    newest: u32,
    /// Frames that were applied before others that they have overtaken.
    ahead: BTreeSet<u32>,
    last_input: u32,
    acknowledged: u32,
    /// When that was scanned out.
    acknowledged_ns: u64,
    clock: Clock,
    rounds: Rounds,
    outputs: BTreeMap<OutputId, Progress>,
    /// What the plan before was of; memory that is used again.
    before: Vec<Wanted>,
    /// Videos with a picture that was not shown before, when films were last settled.
    renewed: Vec<VideoId>,
}

/// How far one output is.
#[derive(Default)]
struct Progress {
    damage: Damage,
    /// A video has another picture in a surface, which is to be shown.
    has_new_surface: bool,
    /// How videos were shown when something was last drawn or shown.
    films: Films,
    /// What was decided for that.
    plan: Plan,
    shown: u32,
    /// When that was scanned out.
    at_ns: u64,
}

/// How videos are shown on an output, and what that was decided for.
#[derive(Debug, Default)]
pub struct Plan {
    /// Videos that are to be seen.
    pub wanted: Vec<Wanted>,
    /// How they are shown.
    pub arrangement: Arrangement,
    /// It is decided, and nothing could be better.
    pub is_good: bool,
}

impl Attached {
    /// Nothing has been drawn yet.
    pub fn new(id: AttachId, outputs: &Outputs, budget: Budget) -> Self {
        Self::with(id, outputs, Scene::new(outputs, budget))
    }

    /// Nothing is shown yet; the session may go on from `scene`.
    pub fn with(id: AttachId, outputs: &Outputs, scene: Scene) -> Self {
        let mut attached = Self {
            id,
            scene,
            cursors: Cursors::default(),
            newest: 0,
            ahead: BTreeSet::new(),
            last_input: 0,
            acknowledged: 0,
            acknowledged_ns: 0,
            clock: Clock::default(),
            rounds: Rounds::default(),
            outputs: BTreeMap::new(),
            before: Vec::new(),
            renewed: Vec::new(),
        };
        attached.set_outputs(outputs);
        attached
    }

    /// Screens came, went or changed.
    pub fn set_outputs(&mut self, outputs: &Outputs) {
        self.scene.set_outputs(outputs);
        self.outputs
            .retain(|id, _| outputs.iter().any(|output| output.id == *id));
        for output in outputs.iter() {
            self.outputs.entry(output.id).or_default().plan = Plan::default();
        }
        // The session need not send anything for a screen that it has known before.
        self.take_scene_damage();
    }

    fn take_scene_damage(&mut self) {
        for (id, progress) in &mut self.outputs {
            progress.damage.add_all(&self.scene.take_damage(*id));
        }
    }

    /// How videos are to be shown on an output, over which `top` is drawn. Where the plan is not good
    /// any more, its arrangement is the caller's to make.
    pub fn plan(&mut self, output: OutputId, top: Option<Rect>) -> Plan {
        let progress = self.outputs.get_mut(&output);
        let mut plan = progress.map_or_else(Plan::default, |p| std::mem::take(&mut p.plan));
        std::mem::swap(&mut self.before, &mut plan.wanted);
        self.scene.want(output, top, &mut plan.wanted);
        plan.is_good &= plan.wanted == self.before;
        plan
    }

    /// A plan was shown: it is good for the next picture as well, unless another could be better.
    pub fn keep_plan(&mut self, output: OutputId, mut plan: Plan) {
        let mut ways = plan.arrangement.videos.iter().map(|(_, way)| way);
        plan.is_good = !ways.any(|way| matches!(way, Way::Copied(_)));
        if let Some(progress) = self.outputs.get_mut(&output) {
            progress.plan = plan;
        }
    }

    /// Videos with a picture that was not shown before, when films were last settled.
    pub fn renewed(&self) -> &[VideoId] {
        &self.renewed
    }

    /// Applies a frame that has arrived.
    pub fn apply(&mut self, frame: &Frame) -> Result<(), SceneError> {
        self.scene.apply(&frame.header, &frame.content)?;
        match frame.header.serial == self.newest.wrapping_add(1) {
            true => self.newest = frame.header.serial,
            false => {
                self.ahead.insert(frame.header.serial);
            }
        }
        while self.ahead.remove(&self.newest.wrapping_add(1)) {
            self.newest = self.newest.wrapping_add(1);
        }
        self.last_input = self.last_input.max(frame.header.last_input);
        self.take_scene_damage();
        for (id, progress) in &mut self.outputs {
            progress.has_new_surface |= self.scene.take_new_surface(*id);
        }
        Ok(())
    }

    /// What the session is told of decoders that have failed.
    pub fn failed_videos(&mut self) -> Vec<ToSession> {
        let failed = self.scene.take_failed_videos().into_iter();
        failed
            .map(|video| ToSession::VideoFailed { video })
            .collect()
    }

    /// What is left when the attach is over: the serial of the last frame, and what it has drawn;
    /// zero where a frame has overtaken one that is missing, so that no serial says what was drawn.
    pub fn into_scene(self) -> (u32, Scene) {
        let serial = if self.ahead.is_empty() {
            self.newest
        } else {
            0
        };
        (serial, self.scene)
    }

    /// Whether another frame would be more than `offered` that are not acknowledged.
    pub fn is_flooded(&self, offered: u32) -> bool {
        self.newest - self.acknowledged + self.ahead.len() as u32 >= offered
    }

    /// Whether there is anything to show yet.
    pub fn has_picture(&self) -> bool {
        self.newest > 0 || !self.ahead.is_empty()
    }

    /// More has to be drawn, as where the pointer was.
    pub fn add_damage(&mut self, output: OutputId, damage: &Damage) {
        if let Some(progress) = self.outputs.get_mut(&output) {
            progress.damage.add_all(damage);
        }
    }

    /// All has to be drawn.
    pub fn damage_all(&mut self) {
        self.scene.damage_all();
        self.take_scene_damage();
        for progress in self.outputs.values_mut() {
            progress.films = Films::default();
        }
    }

    /// Takes what has to be drawn on an output, and whether a video has another picture there.
    pub fn take_damage(&mut self, output: OutputId) -> (Damage, bool) {
        let progress = self.outputs.get_mut(&output);
        progress
            .map(|p| {
                (
                    std::mem::take(&mut p.damage),
                    std::mem::take(&mut p.has_new_surface),
                )
            })
            .unwrap_or_default()
    }

    /// What was taken could not be shown: it is out of date as before, and how videos are shown is open.
    pub fn give_back(&mut self, output: OutputId, damage: &Damage, has_new_surface: bool) {
        if let Some(progress) = self.outputs.get_mut(&output) {
            progress.damage.add_all(damage);
            progress.has_new_surface |= has_new_surface;
            progress.films = Films::default();
        }
    }

    /// Videos are shown in another way from now on, or have other pictures: copies those that no plane
    /// shows, and adds to `damage` what has to be drawn for that.
    pub fn settle_films(
        &mut self,
        output: OutputId,
        (wanted, arrangement): (&[Wanted], &Arrangement),
        damage: &mut Damage,
    ) {
        let Some(progress) = self.outputs.get_mut(&output) else {
            return;
        };
        for wanted in wanted {
            if let Some(Way::Copied(_)) = arrangement.way(wanted.video) {
                self.scene.copy_film(wanted.video);
            }
        }
        let number = |video| self.scene.film(video).map(|(_, number)| number);
        let size = self.scene.output(output).map(|output| output.size);
        let bounds = size.map_or(Rect::of_size(0, 0), |size| Rect::of_size(size.w, size.h));
        let (films, what) = (&mut progress.films, (wanted, arrangement));
        films.change(bounds, what, number, (damage, &mut self.renewed));
    }

    /// What a picture drawn now shows.
    pub fn caption(&self) -> Caption {
        Caption {
            serial: self.newest,
            last_input: self.last_input,
            attach: self.id.0,
        }
    }

    /// A picture of this attach has been scanned out.
    pub fn shown(&mut self, shown: &Shown) {
        if let Some(progress) = self.outputs.get_mut(&shown.output) {
            progress.shown = progress.shown.max(shown.caption.serial);
            progress.at_ns = progress.at_ns.max(shown.at_ns);
        }
    }

    /// The acknowledgement that is due: every output shows a frame when it has flipped to it, or
    /// when the frame changed nothing there. Its time is that of the last flip it waited for, or
    /// `now_ns` where it waited for none. Outputs that are `silent`, or dark, show nothing more, and
    /// nobody who looks at another is kept waiting for them.
    pub fn acknowledge(
        &mut self,
        now_ns: u64,
        is_settled: impl Fn(OutputId) -> bool,
        is_silent: impl Fn(OutputId) -> bool,
    ) -> Option<ToSession> {
        let outputs = self.outputs.iter().filter(|(id, _)| !is_silent(**id));
        let reached = outputs.map(|(id, progress)| {
            let is_drawn = progress.damage.is_empty() && !progress.has_new_surface;
            let idle = is_drawn && is_settled(*id);
            if idle { self.newest } else { progress.shown }
        });
        // Where there are outputs and none that says anything, nothing is shown.
        let none = match self.outputs.is_empty() {
            true => self.newest,
            false => self.acknowledged,
        };
        let serial = reached.min().unwrap_or(none);
        if serial <= self.acknowledged {
            return None;
        }
        let flips = self.outputs.iter();
        let flips = flips.map(|(id, progress)| (progress.at_ns, *id));
        let last = flips.max().filter(|last| last.0 > self.acknowledged_ns);
        let at_ns = last.map_or(now_ns, |last| last.0);
        (self.acknowledged, self.acknowledged_ns) = (serial, at_ns);
        Some(ToSession::FrameShown {
            serial,
            after_us: self.clock.tell(at_ns / 1000),
            output: last.map(|last| last.1),
        })
    }

    /// What is said of the cells behind an acknowledgement.
    pub fn cells_after_ack(&mut self, now_ns: u64) -> Option<ToSession> {
        let (scene, seed) = (&self.scene, self.id.0);
        self.rounds.acknowledged(scene, self.newest, seed, now_ns)
    }

    /// What is said of the cells because nothing else was said for long.
    pub fn cells_at_rest(&mut self, now_ns: u64) -> Option<ToSession> {
        let (scene, seed) = (&self.scene, self.id.0);
        self.rounds.rested(scene, self.newest, seed, now_ns)
    }

    /// Input that was made at `time_us`, as the session is to hear of it: every one, in order.
    pub fn input(&mut self, time_us: u64, event: InputEvent) -> ToSession {
        ToSession::Input(InputBatch {
            after_us: self.clock.tell(time_us),
            events: List::truncated(vec![event]),
        })
    }
}

#[cfg(test)]
mod tests {
    use heliostat_wire::output::{Output, Size};
    use heliostat_wire::scene::FrameHeader;

    use super::*;

    fn output(id: u8) -> Output {
        Output {
            id: OutputId(id),
            connector: "".into(),
            make: "".into(),
            model: "".into(),
            size: Size { w: 64, h: 64 },
            refresh_mhz: 60_000,
            physical_mm: Size { w: 0, h: 0 },
            x: 0,
            y: 0,
        }
    }

    fn frame(serial: u32) -> Frame {
        let mut nothing = Vec::new();
        heliostat_tiles::Encoder::new(1).finish(&mut nothing);
        Frame {
            header: FrameHeader {
                serial,
                last_input: 0,
                overtakes: 0,
                ops: List::default(),
            },
            content: nothing.into(),
        }
    }

    fn flip(attached: &mut Attached, output: u8, at_us: u64) {
        let caption = attached.caption();
        attached.shown(&Shown {
            output: OutputId(output),
            caption,
            at_ns: at_us * 1000,
        });
    }

    #[test]
    fn frame_is_acknowledged_with_the_time_of_the_last_flip_that_it_waited_for() {
        let outputs = List::new(vec![output(0), output(1)]).unwrap();
        let mut attached = Attached::new(AttachId(1), &outputs, Budget::default());
        attached.apply(&frame(1)).unwrap();
        for id in [0, 1] {
            assert!(!attached.take_damage(OutputId(id)).0.is_empty());
        }
        let (flipping, no) = (|_| false, |_| false);
        flip(&mut attached, 0, 5000);
        assert_eq!(attached.acknowledge(5_500_000, flipping, no), None);
        flip(&mut attached, 1, 9000);
        let shown = |serial, after_us| {
            Some(ToSession::FrameShown {
                serial,
                after_us,
                output: (serial == 1).then_some(OutputId(1)),
            })
        };
        assert_eq!(
            attached.acknowledge(9_900_000, flipping, no),
            shown(1, 9000)
        );
        // It changes nothing on any screen, so that it is there at once.
        attached.apply(&frame(2)).unwrap();
        let idle = |_| true;
        assert_eq!(attached.acknowledge(12_000_000, idle, no), shown(2, 3000));
        // One that has overtaken two is acknowledged with them.
        attached.apply(&frame(5)).unwrap();
        attached.apply(&frame(3)).unwrap();
        assert_eq!(attached.acknowledge(13_000_000, idle, no), shown(3, 1000));
        assert!(!attached.is_flooded(2) && attached.is_flooded(1));
        attached.apply(&frame(4)).unwrap();
        assert_eq!(attached.acknowledge(14_000_000, idle, no), shown(5, 1000));
    }

    #[test]
    fn frame_is_acknowledged_without_a_screen_that_is_silent_and_not_without_any() {
        let outputs = List::new(vec![output(0), output(1)]).unwrap();
        let mut attached = Attached::new(AttachId(1), &outputs, Budget::default());
        attached.apply(&frame(1)).unwrap();
        flip(&mut attached, 1, 5000);
        let (flipping, no) = (|_| false, |_| false);
        assert_eq!(attached.acknowledge(6_000_000, flipping, no), None);
        let both = |_| true;
        assert_eq!(attached.acknowledge(6_000_000, flipping, both), None);
        let first = |id| id == OutputId(0);
        let told = attached.acknowledge(6_000_000, flipping, first);
        assert!(matches!(
            told,
            Some(ToSession::FrameShown { serial: 1, .. })
        ));
    }
}
