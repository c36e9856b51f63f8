// SPDX-License-Identifier: Apache-2.0
package dev.merapi.profile;

import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/** The trace event format: complete events in microseconds, one row for each thread. */
final class ChromeTrace {
    private ChromeTrace() {}

    static void write(Path file, List<Lane> lanes, long origin) throws IOException {
        try (Writer out = Files.newBufferedWriter(file)) {
            out.write("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
            String separator = "";
            for (Lane lane : lanes) {
                out.write(separator + "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":" + lane.thread
                        + ",\"args\":{\"name\":" + quoted(lane.threadName) + "}}");
                separator = ",\n";
                for (Lane.Event e : lane.events()) {
                    out.write(separator + "{\"name\":" + quoted(e.name()) + ",\"cat\":\""
                            + e.kind().name().toLowerCase(Locale.ROOT) + "\",\"ph\":\"X\",\"ts\":"
                            + micros(e.start() - origin) + ",\"dur\":" + micros(e.nanos()) + ",\"pid\":1,\"tid\":"
                            + lane.thread + ",\"args\":{\"bytes\":" + e.bytes()
                            + (e.place() == null ? "" : ",\"layer\":" + quoted(e.place())) + "}}");
                }
            }
            out.write("\n]}\n");
        }
    }

    private static String micros(long nanos) {
        return String.format(Locale.ROOT, "%d.%03d", nanos / 1000, Math.abs(nanos % 1000));
    }

    private static String quoted(String text) {
        StringBuilder s = new StringBuilder("\"");
        text.chars().forEach(c -> {
            if (c == '"' || c == '\\') {
                s.append('\\').append((char) c);
            } else if (c < ' ') {
                s.append(String.format(Locale.ROOT, "\\u%04x", c));
            } else {
                s.append((char) c);
            }
        });
        return s.append('"').toString();
    }
}
