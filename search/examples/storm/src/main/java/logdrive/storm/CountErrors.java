package logdrive.storm;

import com.codahale.metrics.Counter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.storm.Config;
import org.apache.storm.task.OutputCollector;
import org.apache.storm.task.TopologyContext;
import org.apache.storm.topology.OutputFieldsDeclarer;
import org.apache.storm.topology.base.BaseRichBolt;
import org.apache.storm.tuple.Tuple;
import org.apache.storm.utils.TupleUtils;

/**
 * Counts, writes what changed, and only then acknowledges what it was made of. So at any moment each error is either in a result
 * that Kafka has, or it will be read again.
 */
final class CountErrors extends BaseRichBolt {
    private static final long serialVersionUID = 1;

    /** Results are written this often, or when so many errors wait for it. */
    private static final int WRITE_EVERY_SECONDS = 1;
    private static final int WAITING_MAX = 5_000;

    private final String brokers;
    private final String topic;
    private final Duration remember;

    private transient OutputCollector collector;
    private transient ResultTopic results;
    private transient Counts counts;
    private transient Map<Counts.Outcome, Counter> outcomes;

    /** Counted, and in no result that Kafka has. */
    private transient List<Tuple> waiting;

    CountErrors(String brokers, String topic, Duration remember) {
        this.brokers = brokers;
        this.topic = topic;
        this.remember = remember;
    }

    @Override
    public void prepare(Map<String, Object> conf, TopologyContext context, OutputCollector collector) {
        this.collector = collector;
        waiting = new ArrayList<>();
        outcomes = new EnumMap<>(Counts.Outcome.class);
        for (Counts.Outcome outcome : Counts.Outcome.values()) {
            outcomes.put(outcome, context.registerCounter(outcome.name().toLowerCase(Locale.ROOT)));
        }
        counts = new Counts(remember, InstantSource.system());
        int tasks = context.getComponentTasks(context.getThisComponentId()).size();
        int index = context.getThisTaskIndex();
        // First the one before is shut out, then what it wrote is read.
        results = new ResultTopic(brokers, topic, conf.get(Config.TOPOLOGY_NAME) + "-" + index);
        try {
            results.readAll(result -> {
                // The hosts that fields grouping gives to this task, now: there may have been more of them, or fewer.
                if (TupleUtils.chooseTaskIndex(List.of(result.host()), tasks) == index) {
                    counts.restore(result);
                }
            });
        } catch (IOException e) {
            throw new UncheckedIOException("the topic " + topic + " holds something else than results", e);
        }
    }

    @Override
    public void execute(Tuple tuple) {
        if (!TupleUtils.isTick(tuple)) {
            Counts.Outcome outcome = counts.count(new ErrorEvent(
                    tuple.getStringByField(ErrorsOnly.HOST),
                    tuple.getLongByField(ErrorsOnly.MINUTE),
                    tuple.getStringByField(ErrorsOnly.LIFE),
                    tuple.getLongByField(ErrorsOnly.POSITION)));
            outcomes.get(outcome).inc();
            waiting.add(tuple);
            if (waiting.size() < WAITING_MAX) {
                return;
            }
        }
        List<Result> changed = counts.takeResults();
        if (!changed.isEmpty()) {
            results.write(changed);
        }
        waiting.forEach(collector::ack);
        waiting.clear();
        counts.forgetOld();
    }

    @Override
    public Map<String, Object> getComponentConfiguration() {
        return Map.of(Config.TOPOLOGY_TICK_TUPLE_FREQ_SECS, WRITE_EVERY_SECONDS);
    }

    @Override
    public void cleanup() {
        results.close();
    }

    @Override
    public void declareOutputFields(OutputFieldsDeclarer declarer) {
        // Its output is a topic of Kafka.
    }
}
