package logdrive.storm;

import java.time.Duration;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.storm.Config;
import org.apache.storm.StormSubmitter;
import org.apache.storm.generated.StormTopology;
import org.apache.storm.kafka.spout.FirstPollOffsetStrategy;
import org.apache.storm.kafka.spout.KafkaSpout;
import org.apache.storm.kafka.spout.KafkaSpoutConfig;
import org.apache.storm.topology.TopologyBuilder;
import org.apache.storm.tuple.Fields;

/**
 * The topology: a spout reads the agent's topic and lets errors through, counters count them for each host and minute and write
 * the counts into another topic.
 */
public final class ErrorsPerMinute {
    private static final String USAGE =
            """
            usage: storm jar errors-per-minute.jar logdrive.storm.ErrorsPerMinute NAME BROKERS LOGS RESULTS [OPTION=NUMBER...]
              NAME       of the topology; also of its consumer group, so it goes on where one of this name was
              BROKERS    host:port,...
              LOGS       the topic that the agent writes
              RESULTS    the topic of the counts; it must exist
              readers    spouts, of which each reads its share of the partitions of LOGS (default 1)
              counters   bolts, of which each counts its share of the hosts (default 1)
              remember   hours for which a minute is counted after it began (default 24)""";

    /** What is read and not yet committed, of each partition: a bound of memory, reached if counters cannot follow. */
    private static final int UNCOMMITTED_MAX = 250_000;

    /** Errors of one spout that are on their way or wait for their result to be written. */
    private static final int PENDING_MAX = 20_000;

    private static final long COMMIT_EVERY_MS = 5_000;

    private ErrorsPerMinute() {}

    /** Submits it to the cluster of {@code storm jar}, or to that within the process of {@code storm local}. */
    public static void main(String[] args) throws Exception {
        if (args.length < 4) {
            System.err.println(USAGE);
            System.exit(2);
        }
        int readers = 1;
        int counters = 1;
        int rememberHours = 24;
        for (int i = 4; i < args.length; i++) {
            String[] option = args[i].split("=", 2);
            int number = option.length == 2 && option[1].matches("[1-9]\\d{0,4}") ? Integer.parseInt(option[1]) : 0;
            if (number == 0) {
                System.err.println("error: '" + args[i] + "' is no OPTION=NUMBER\n" + USAGE);
                System.exit(2);
            }
            switch (option[0]) {
                case "readers" -> readers = number;
                case "counters" -> counters = number;
                case "remember" -> rememberHours = number;
                default -> {
                    System.err.println("error: there is no option '" + option[0] + "'\n" + USAGE);
                    System.exit(2);
                }
            }
        }
        Config config = new Config();
        config.setMaxSpoutPending(PENDING_MAX);
        StormSubmitter.submitTopology(
                args[0], config, topology(args[0], args[1], args[2], args[3], readers, counters, rememberHours));
    }

    static StormTopology topology(
            String name, String brokers, String logs, String results, int readers, int counters, int rememberHours) {
        // Where nothing was committed it begins at the first record; an offset is committed when everything before it is
        // acknowledged, which is to say, in a result that Kafka has.
        KafkaSpoutConfig<byte[], byte[]> spout = new KafkaSpoutConfig.Builder<byte[], byte[]>(brokers, logs)
                .setProp(ConsumerConfig.GROUP_ID_CONFIG, name)
                .setProp(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class)
                .setProp(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class)
                .setFirstPollOffsetStrategy(FirstPollOffsetStrategy.UNCOMMITTED_EARLIEST)
                .setProcessingGuarantee(KafkaSpoutConfig.ProcessingGuarantee.AT_LEAST_ONCE)
                .setOffsetCommitPeriodMs(COMMIT_EVERY_MS)
                .setMaxUncommittedOffsets(UNCOMMITTED_MAX)
                .setRecordTranslator(new ErrorsOnly())
                .build();
        TopologyBuilder topology = new TopologyBuilder();
        topology.setSpout("logs", new KafkaSpout<>(spout), readers);
        topology.setBolt("counts", new CountErrors(brokers, results, Duration.ofHours(rememberHours)), counters)
                .fieldsGrouping("logs", new Fields(ErrorsOnly.HOST));
        return topology.createTopology();
    }
}
