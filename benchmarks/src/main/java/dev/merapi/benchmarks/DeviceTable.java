// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.benchmarks.Answers.Answer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** A device's answers as people read them: bandwidths as shares of that of copying, PyTorch's answers beside them. */
record DeviceTable(Answers answers, @Nullable Answers peers) {
    static final String HEADER = "| what | Merapi | of copying | PyTorch | as fast as PyTorch |\n|---|---|---|---|---|";

    private static final Set<String> LESS_IS_MORE = Set.of("µs", "MiB", "%", "kernels");

    /** Makes the table of a file, beside it: {@code <name>.md}. */
    static Path write(Path answers, @Nullable Path peers) throws IOException {
        String name = answers.getFileName().toString();
        Path table = answers.resolveSibling(name.substring(0, name.lastIndexOf('.')) + ".md");
        DeviceTable t = new DeviceTable(Answers.read(answers), peers == null ? null : Answers.read(peers));
        return Files.writeString(table, t.text());
    }

    private String text() {
        StringBuilder text = new StringBuilder("# Device\n\n");
        answers.facts()
                .forEach((key, value) ->
                        text.append("- ").append(key).append(": ").append(value).append('\n'));
        if (peers != null) {
            peers.facts()
                    .forEach((key, value) -> text.append("- peer ")
                            .append(key)
                            .append(": ")
                            .append(value)
                            .append('\n'));
        }
        text.append('\n').append(HEADER).append('\n');
        answers.all().forEach((key, answer) -> text.append(line(key, answer)).append('\n'));
        return text.toString();
    }

    String line(String key, Answer answer) {
        if (answer.failure() != null) {
            return "| " + key + " | failed: " + answer.failure().replace("|", "/") + " | | | |";
        }
        Answer peer = peer(key);
        return "| " + key + " | " + number(answer.value()) + " " + answer.unit() + " | " + ofCopying(answer) + " | "
                + (peer == null ? "" : number(peer.value()) + " " + answer.unit()) + " | "
                + (peer == null ? "" : String.format(Locale.ROOT, "%.2f×", ratio(answer, peer))) + " |";
    }

    /** The same in a few words. */
    String figure(String key, Answer answer) {
        if (answer.failure() != null) {
            return key + " FAILED";
        }
        Answer peer = peer(key);
        return key + " " + number(answer.value()) + " " + answer.unit()
                + (peer == null ? "" : String.format(Locale.ROOT, " (%.2f×)", ratio(answer, peer)));
    }

    private @Nullable Answer peer(String key) {
        Answer peer = peers == null ? null : peers.all().get(key);
        return peer == null || peer.failure() != null ? null : peer;
    }

    /** How many times as good as the peer. */
    private static double ratio(Answer ours, Answer peer) {
        return LESS_IS_MORE.contains(ours.unit()) ? peer.value() / ours.value() : ours.value() / peer.value();
    }

    private String ofCopying(Answer answer) {
        Answer copy = answers.all().get("copy");
        return answer.unit().equals("GB/s") && copy != null && copy.failure() == null
                ? String.format(Locale.ROOT, "%.0f %%", 100 * answer.value() / copy.value())
                : "";
    }

    static String number(double value) {
        return value >= 1000 ? String.format(Locale.ROOT, "%,.0f", value) : String.format(Locale.ROOT, "%.3g", value);
    }
}
