package logdrive.storm;

import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.storm.kafka.spout.RecordTranslator;
import org.apache.storm.tuple.Fields;
import org.apache.storm.tuple.Values;

/**
 * Makes tuples of errors and nothing of other records, in the spout itself: the many lines that are no errors go nowhere,
 * and the spout counts them as processed at once.
 */
final class ErrorsOnly implements RecordTranslator<byte[], byte[]> {
    private static final long serialVersionUID = 1;

    static final String HOST = "host";
    static final String MINUTE = "minute";
    static final String LIFE = "life";
    static final String POSITION = "position";

    @Override
    public List<Object> apply(ConsumerRecord<byte[], byte[]> record) {
        return ErrorEvent.in(record)
                .map(error -> new Values(error.host(), error.minute(), error.life(), error.position()))
                .orElse(null);
    }

    @Override
    public Fields getFieldsFor(String stream) {
        return new Fields(HOST, MINUTE, LIFE, POSITION);
    }

    @Override
    public List<String> streams() {
        return DEFAULT_STREAM;
    }
}
