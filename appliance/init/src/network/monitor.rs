//! The kernel's table of interfaces, read anew whenever it says that something in it changed.

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::{Handle, LinkUnspec, MulticastGroup, new_multicast_connection};
use tracing::{debug, warn};

use super::interface::{Interface, Interfaces};
use crate::names::Mac;

/// Most interfaces looked at.
const MAX_INTERFACES: usize = 64;

type Messages = std::pin::Pin<Box<dyn futures_util::Stream<Item = ()>>>;

/// The kernel's interfaces.
pub(super) struct Monitor {
    handle: Handle,
    changes: Messages,
}

impl Monitor {
    /// Opens the socket; runs inside the Tokio runtime.
    pub fn open() -> std::io::Result<Monitor> {
        let (connection, handle, messages) = new_multicast_connection(&[MulticastGroup::Link])?;
        tokio::spawn(connection);
        Ok(Monitor {
            handle,
            changes: Box::pin(messages.map(|_| ())),
        })
    }

    /// A handle for changes of addresses and routes.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until something changed; `None` when the socket is gone.
    pub async fn changed(&mut self) -> Option<()> {
        self.changes.next().await?;
        // A burst of changes is one change.
        while let Some(Some(())) = futures_util::FutureExt::now_or_never(self.changes.next()) {}
        Some(())
    }

    /// The Ethernet interfaces as they are now. Those that are down, and the loopback, are brought
    /// up on the way.
    pub async fn interfaces(&self) -> Result<Interfaces, rtnetlink::Error> {
        let links: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .take(MAX_INTERFACES)
            .try_collect()
            .await?;
        for link in links
            .iter()
            .filter(|link| !link.header.flags.contains(LinkFlags::Up))
        {
            self.bring_up(link).await;
        }
        Ok(links
            .iter()
            .filter_map(ethernet)
            .map(|found| (found.index, found))
            .collect())
    }

    async fn bring_up(&self, link: &LinkMessage) {
        let wanted = ethernet(link).is_some() || link.header.flags.contains(LinkFlags::Loopback);
        if !wanted {
            return;
        }
        let index = link.header.index;
        let up = LinkUnspec::new_with_index(index).up().build();
        match self.handle.link().set(up).execute().await {
            Ok(()) => debug!(index, "interface brought up"),
            Err(error) => warn!(index, %error, "interface cannot be brought up"),
        }
    }
}

fn ethernet(link: &LinkMessage) -> Option<Interface> {
    let header = &link.header;
    if header.link_layer_type != LinkLayerType::Ether {
        return None;
    }
    let name = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })?;
    let mac = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(mac) => mac.as_slice().try_into().ok().map(Mac),
            _ => None,
        })?;
    // A radio needs a network name and a password, which a terminal has no place for.
    if std::path::Path::new("/sys/class/net")
        .join(&name)
        .join("wireless")
        .exists()
    {
        return None;
    }
    let carrier = header.flags.contains(LinkFlags::LowerUp);
    Some(Interface {
        index: header.index,
        name,
        mac,
        carrier,
    })
}
