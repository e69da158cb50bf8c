//! What happens at the card reader.

use crate::app::App;
use crate::card::CardEvent;
use crate::desk::DeskEvent;

impl App {
    pub(super) fn handle_card(&mut self, event: CardEvent) {
        match event {
            CardEvent::Edge { reader, at_us } => {
                self.timeline.begin(at_us);
                self.desk(DeskEvent::CardEdge { reader });
            }
            CardEvent::Read(card) => self.desk(DeskEvent::CardRead(Box::new(card))),
            CardEvent::Unreadable(why) => self.desk(DeskEvent::CardUnreadable(why)),
            CardEvent::Gone => self.desk(DeskEvent::CardGone),
            CardEvent::Readers(count) => {
                self.around.readers = Some(count);
                self.redraw();
            }
            CardEvent::Another(waits) => {
                self.around.another_card = waits;
                self.redraw();
            }
            CardEvent::Service(alive) => {
                self.around.card_service = alive;
                self.redraw();
            }
        }
    }
}
