//! Who owns a librdkafka property: a key of our configuration, a promise of the agent, or the operator.
//!
//! Not a list of what exists: a property that nobody here knows is the operator's, and librdkafka
//! itself says when it does not know it either.

/// Who decides about a property.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Owner {
    /// A key of ours with this name.
    Key(&'static str),
    /// Nobody: another value breaks this promise.
    Promise(&'static str),
    /// Whoever writes the options.
    Operator,
}

/// The one name under which we speak of a property that has several.
pub(super) fn canonical(name: &str) -> &str {
    match name {
        "metadata.broker.list" => "bootstrap.servers",
        "queue.buffering.max.ms" => "linger.ms",
        "request.required.acks" => "acks",
        "compression.type" => "compression.codec",
        "delivery.timeout.ms" => "message.timeout.ms",
        "max.in.flight" => "max.in.flight.requests.per.connection",
        "message.send.max.retries" => "retries",
        "sasl.mechanism" => "sasl.mechanisms",
        other => other,
    }
}

/// Whether the value of this property is never printed.
pub(super) fn is_secret(name: &str) -> bool {
    name.contains("password")
        || name.contains("secret")
        || matches!(name, "ssl.key.pem" | "sasl.oauthbearer.config")
}

/// The owner of a property, by its canonical name.
pub(super) fn owner_of(name: &str) -> Owner {
    const ORDER: &str = "lines of one file would no longer arrive in order";
    const LOSS: &str = "lines could be dropped or counted as delivered when they are not";
    const INTERNAL: &str = "the sink depends on how it is set";
    match name {
        "bootstrap.servers" => Owner::Key("brokers"),
        "client.id" => Owner::Key("client_id"),
        "acks" => Owner::Key("acks"),
        "compression.codec" | "compression.level" => Owner::Key("compression"),
        "linger.ms" => Owner::Key("linger"),
        "batch.size" => Owner::Key("batch_bytes"),
        "message.max.bytes" => Owner::Key("message_bytes_max"),
        "statistics.interval.ms" => Owner::Key("statistics"),
        "queue.buffering.max.messages" | "queue.buffering.max.kbytes" => Owner::Key("in_flight"),
        "security.protocol" => Owner::Key("tls and sasl"),
        "ssl.ca.location" | "ssl.certificate.location" | "ssl.key.location" | "ssl.key.password" => {
            Owner::Key("tls")
        }
        "sasl.mechanisms" | "sasl.username" | "sasl.password" => Owner::Key("sasl"),
        "enable.idempotence" | "max.in.flight.requests.per.connection" | "queuing.strategy" => {
            Owner::Promise(ORDER)
        }
        "message.timeout.ms" | "retries" | "delivery.report.only.error" => Owner::Promise(LOSS),
        "transactional.id" => Owner::Promise("this sink has no transactions"),
        "partitioner" | "partitioner_cb" | "sticky.partitioning.linger.ms" => {
            Owner::Promise("the partition is chosen by the item's `partition` rule")
        }
        "log.queue" | "enabled_events" | "opaque" => Owner::Promise(INTERNAL),
        _ => Owner::Operator,
    }
}
