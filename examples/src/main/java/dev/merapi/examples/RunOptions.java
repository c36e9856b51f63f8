// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import dev.merapi.Merapi;
import dev.merapi.io.AtomicFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.IDefaultValueProvider;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;

/** The options of a run, in its {@code config.json}: a run that goes on has those that it began with, if no others are given. */
final class RunOptions {
    static final String FILE = "config.json";
    private static final String RESUME = "--resume";
    /** Where a run is, and what it writes when it is over, are not part of it. */
    private static final Set<String> NOT_KEPT =
            Set.of(RESUME, "--out", "--help", "--version", "--debug", "--generate", "--from");

    private RunOptions() {}

    /** Writes the values of all options. */
    static void save(Path folder, CommandSpec command) throws IOException {
        JsonObject all = new JsonObject();
        all.addProperty("version", Merapi.version());
        JsonObject options = new JsonObject();
        for (OptionSpec option : command.options()) {
            Object value = option.getValue();
            if (value != null && !NOT_KEPT.contains(option.longestName())) {
                options.addProperty(option.longestName(), value.toString());
            }
        }
        all.add("options", options);
        byte[] text = new GsonBuilder()
                .setPrettyPrinting()
                .disableHtmlEscaping()
                .create()
                .toJson(all)
                .concat("\n")
                .getBytes(StandardCharsets.UTF_8);
        AtomicFile.write(folder.resolve(FILE), channel -> channel.write(ByteBuffer.wrap(text)));
    }

    /** For options that are not given: what the run that {@code --resume} names began with. Null without that option. */
    static @Nullable IDefaultValueProvider ofResumed(String... arguments) {
        Path folder = resumed(arguments);
        if (folder == null) {
            return null;
        }
        JsonObject options = Launch.given(RESUME + " " + folder, () -> {
            try {
                return JsonParser.parseString(Files.readString(folder.resolve(FILE)))
                        .getAsJsonObject()
                        .getAsJsonObject("options");
            } catch (JsonParseException | IllegalStateException e) {
                throw new IOException(folder.resolve(FILE) + " is damaged: " + e.getMessage(), e);
            }
        });
        return (ArgSpec argument) -> argument instanceof OptionSpec option && options.has(option.longestName())
                ? options.get(option.longestName()).getAsString()
                : null;
    }

    private static @Nullable Path resumed(String... arguments) {
        List<String> all = new ArrayList<>(List.of(arguments));
        for (int i = 0; i < all.size(); i++) {
            if (all.get(i).startsWith(RESUME + "=")) {
                return Path.of(all.get(i).substring(RESUME.length() + 1));
            }
            if (all.get(i).equals(RESUME) && i + 1 < all.size()) {
                return Path.of(all.get(i + 1));
            }
        }
        return null;
    }
}
