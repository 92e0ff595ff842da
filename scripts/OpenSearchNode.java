import java.nio.file.Files;
import java.nio.file.Path;
import org.codelibs.opensearch.runner.OpenSearchRunner;

/**
 * One OpenSearch node with real HTTP, for tests: `java -cp LIBS OpenSearchNode.java DIR PORT [SETTING=VALUE]...`.
 *
 * The runner's own main function takes no port above 9299 and no settings, so it is called from here. It ends with
 * SIGTERM in good order; its data stay in DIR.
 */
public final class OpenSearchNode {
    public static void main(String[] arguments) throws Exception {
        Path dir = Path.of(arguments[0]);
        String port = arguments[1];
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.put("http.port", port);
            settings.put("transport.port", Integer.toString(Integer.parseInt(port) + 1));
            settings.put("network.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
            for (int at = 2; at < arguments.length; at++) {
                String[] pair = arguments[at].split("=", 2);
                settings.put(pair[0], pair[1]);
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                runner.close();
            } catch (Exception failed) {
                failed.printStackTrace();
            }
        }));
        runner.build(OpenSearchRunner.newConfigs().basePath(dir.toString()).numOfNode(1).useLogger());
        System.out.println("started");
        Thread.currentThread().join();
    }
}
