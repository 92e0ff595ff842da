package logdrive.storm;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The topic of results, as one counter sees it: what it writes, and what it finds when it starts again.
 *
 * <p>Writing is transactional, for one reason: a worker that Storm takes for dead may still be running. Whoever opens the topic
 * under the same name shuts the one before out, so that there is never a second voice.
 */
final class ResultTopic implements AutoCloseable {
    private final String brokers;
    private final String topic;
    private final KafkaProducer<byte[], byte[]> producer;

    /**
     * Opens the topic for writing; from here on an earlier one of the same name can write no more.
     *
     * @param name names this counter, the same after a restart
     */
    ResultTopic(String brokers, String topic, String name) {
        this.brokers = brokers;
        this.topic = topic;
        producer = new KafkaProducer<>(
                Map.of(
                        ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers,
                        ProducerConfig.TRANSACTIONAL_ID_CONFIG, name,
                        ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4"),
                new ByteArraySerializer(),
                new ByteArraySerializer());
        producer.initTransactions();
    }

    /** Gives all results that there are, each key's in order. */
    void readAll(Consumer<Result> reader) throws IOException {
        Map<TopicPartition, Long> ends = ends();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("read_committed")) {
            consumer.assign(ends.keySet());
            consumer.seekToBeginning(ends.keySet());
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    reader.accept(Result.fromJson(record.value()));
                }
            }
        }
    }

    /**
     * The ends as they are, whoever has a transaction open. Asked with "read_committed", they would be where the first open
     * transaction of any counter begins, and results of this one may be behind that; so these ends are reached when all of
     * those have ended.
     */
    private Map<TopicPartition, Long> ends() {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("read_uncommitted")) {
            List<PartitionInfo> partitions = consumer.partitionsFor(topic);
            if (partitions.isEmpty()) {
                throw new IllegalStateException("there is no topic " + topic + " at " + brokers
                        + " for the results; create it, see README.md");
            }
            return consumer.endOffsets(
                    partitions.stream().map(p -> new TopicPartition(topic, p.partition())).toList());
        }
    }

    private KafkaConsumer<byte[], byte[]> consumer(String isolation) {
        Map<String, Object> settings = new HashMap<>();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, isolation);
        settings.put(ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, false);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Returns when Kafka has all of them. A failure is for the worker to die of: it starts again from what Kafka has. */
    void write(List<Result> results) {
        producer.beginTransaction();
        for (Result result : results) {
            producer.send(new ProducerRecord<>(topic, result.key().getBytes(StandardCharsets.UTF_8), result.toJson()));
        }
        producer.commitTransaction();
    }

    @Override
    public void close() {
        producer.close(Duration.ofSeconds(5));
    }
}
