// A web server of the JVM: one thread takes connections and finds out which of them have something to read, a pool of four does the rest.
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;

class Serve {
    public static void main(String[] arguments) throws IOException {
        String[] address = arguments[0].split(":");
        Path root = Path.of(arguments[1]);
        InetSocketAddress here = new InetSocketAddress(address[0], Integer.parseInt(address[1]));
        HttpServer server = HttpServer.create(here, 128);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            Path name = Path.of(exchange.getRequestURI().getPath()).getFileName();
            byte[] body = Files.readAllBytes(root.resolve(name));
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
