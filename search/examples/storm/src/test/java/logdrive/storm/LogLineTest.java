package logdrive.storm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Map;
import java.util.OptionalLong;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LogLineTest {
    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock =
            """
            2026-01-02 03:04:05,678 ERROR [main] shop.Cart - no such item          | 2026-01-02T03:04Z | true
            2026-01-02 03:04:05.678  INFO 41 --- [main] shop.Cart : ready          | 2026-01-02T03:04Z | false
            2026-01-02 03:04:05,678 - shop.cart - CRITICAL - out of money          | 2026-01-02T03:04Z | true
            2026-01-02T03:04:05Z FATAL out of money                                | 2026-01-02T03:04Z | true
            2026-01-02T03:04:05.678901234+01:00 ERROR no                           | 2026-01-02T02:04Z | true
            2026-01-02 03:04:05 -0530 SEVERE no                                    | 2026-01-02T08:34Z | true
            [2026-01-02 03:04:05] WARN disk is nearly full                         | 2026-01-02T03:04Z | false
            time=2026-01-02T03:04:05.678Z level=error msg="no such item"           | 2026-01-02T03:04Z | true
            2026-01-02T03:04:05Z stdout F level=info msg="ERROR is only a word"    | 2026-01-02T03:04Z | false
            2026-01-02 03:04:05 INFO the client says ERROR and FATAL               | 2026-01-02T03:04Z | false
            2026-01-02 03:04:05 TERRORS of the sea                                 | 2026-01-02T03:04Z | false
            {"time":"2026-01-02T03:04:05Z","level":"error","message":"no"}         | 2026-01-02T03:04Z | true
            {"@timestamp":"2026-01-02T03:04:05Z","log.level":"FATAL"}              | 2026-01-02T03:04Z | true
            {"ts":"2026-01-02T03:04:05Z","severity":"INFO","message":"ERROR"}      | 2026-01-02T03:04Z | false
            {"level":"error"}                                                      |                   | true
            {"level":50,"time":1767323045}                                         |                   | false
            {"level":"error"                                                       |                   | false
            {}                                                                     |                   | false
            ``                                                                     |                   | false
            	at shop.Cart.add(Cart.java:42)                                        |                   | false
            java.lang.IllegalStateException: ERROR                                 |                   | false
            2026-13-45 29:61:00 ERROR what a day                                   |                   | true
            """)
    void whatALineSaysOfItself(String line, String minute, boolean error) {
        OptionalLong expected = minute == null
                ? OptionalLong.empty()
                : OptionalLong.of(new Result("", minute, 0, 0, Map.of()).minuteNumber());
        assertEquals(new LogLine(expected, error), LogLine.of(line));
    }
}
