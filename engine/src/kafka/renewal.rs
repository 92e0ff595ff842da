//! Other credentials for connections that are in use.
//!
//! librdkafka reads certificates and passwords when a producer is created, so a producer has to be
//! replaced. It takes nothing more then, and is replaced when everything that it has is acknowledged: so
//! nothing is sent twice. If nobody answers (the old credentials may have expired) that is not waited for
//! longer than [`SETTLE_MAX`]; what is unacknowledged then is sent again by the new one.

use std::time::Duration;

use tracing::{info, warn};

use super::native::Client;
use super::settings::{InFlightBudget, KafkaSettings};
use super::sink::{KafkaError, KafkaSink};

/// How long a producer may take to have everything acknowledged.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Creates a producer with these settings and drops it: whether librdkafka can load what they name.
/// Blocks for as long as files take.
///
/// # Errors
/// What librdkafka says.
pub fn try_out(settings: &KafkaSettings) -> Result<(), KafkaError> {
    let budget = InFlightBudget { messages_max: 1, bytes_max: 1 };
    let properties = settings.properties(budget)?;
    Client::new(&properties.pairs).map(drop).map_err(KafkaError::Producer)
}

impl KafkaSink {
    /// Goes on with these settings, which differ from the ones before in credentials only.
    ///
    /// # Errors
    /// Settings that cannot work; the ones before stay in force.
    pub fn renew(&mut self, settings: KafkaSettings) -> Result<(), KafkaError> {
        assert_eq!(settings.producers, self.instances.len(), "only credentials may differ");
        self.properties = settings.properties(self.budget)?;
        self.settings = settings;
        let until = self.now + SETTLE_MAX;
        for instance in &mut self.instances {
            instance.replace_by = instance.client().map(|_| until);
        }
        self.replace_settled();
        Ok(())
    }

    /// Replaces the producers whose time has come.
    pub(super) fn replace_settled(&mut self) {
        for instance in &mut self.instances {
            let Some(until) = instance.replace_by else { continue };
            let batches = self.hold.unfinished(instance.index).count();
            if batches > 0 && self.now < until {
                continue;
            }
            match batches {
                0 => info!(instance = instance.index, "kafka producer is replaced"),
                _ => warn!(
                    instance = instance.index,
                    batches, "kafka producer is replaced although not everything is acknowledged"
                ),
            }
            instance.retire();
        }
    }
}
