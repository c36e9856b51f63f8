// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import dev.merapi.Merapi;
import dev.merapi.data.Vocabulary;
import dev.merapi.io.AtomicFile;
import dev.merapi.io.Safetensors;
import dev.merapi.io.SafetensorsFile;
import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A model that was trained, as its run keeps it: {@code weights.safetensors}, whose metadata say how large the model is and how it
 * came about, and {@code tokenizer.json} with its characters.
 */
final class GptFiles {
    static final String WEIGHTS = "weights.safetensors";
    static final String TOKENIZER = "tokenizer.json";
    private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().create();

    private GptFiles() {}

    /** A model, and the characters that its tokens are. */
    record Loaded(Gpt model, Vocabulary vocabulary) {}

    static void save(Path folder, Vocabulary vocabulary) throws IOException {
        JsonObject all = new JsonObject();
        all.addProperty("type", "characters");
        all.addProperty("characters", vocabulary.characters());
        byte[] text = (GSON.toJson(all) + "\n").getBytes(StandardCharsets.UTF_8);
        AtomicFile.write(folder.resolve(TOKENIZER), channel -> channel.write(ByteBuffer.wrap(text)));
    }

    /** With more about the run than the model's sizes. */
    static void save(Path folder, Gpt model, Map<String, String> more) throws IOException {
        Gpt.Shape shape = model.shape();
        Map<String, String> metadata = new LinkedHashMap<>(more);
        metadata.put("model", "gpt");
        metadata.put("merapi", Merapi.version());
        metadata.put("vocabulary", String.valueOf(shape.vocabulary()));
        metadata.put("context", String.valueOf(shape.context()));
        metadata.put("layers", String.valueOf(shape.layers()));
        metadata.put("width", String.valueOf(shape.width()));
        metadata.put("heads", String.valueOf(shape.heads()));
        Safetensors.save(folder.resolve(WEIGHTS), model.stateDict().all(Tensor.class), metadata);
    }

    static Loaded load(Path folder) throws IOException {
        if (!Files.isDirectory(folder)) {
            throw new NoSuchFileException(folder.toString());
        }
        if (!Files.exists(folder.resolve(WEIGHTS))) {
            throw new IOException("has no " + WEIGHTS + " yet; end the run with --resume " + folder);
        }
        Vocabulary vocabulary;
        try {
            vocabulary = Vocabulary.of(GSON.fromJson(Files.readString(folder.resolve(TOKENIZER)), JsonObject.class)
                    .get("characters")
                    .getAsString());
        } catch (JsonParseException | IllegalStateException | NullPointerException e) {
            throw new IOException(TOKENIZER + " is damaged: it is no JSON with the characters", e);
        }
        Gpt model;
        try (SafetensorsFile file = Safetensors.open(folder.resolve(WEIGHTS))) {
            Map<String, String> metadata = file.metadata();
            model = new Gpt(new Gpt.Shape(
                    size(metadata, "vocabulary"),
                    size(metadata, "context"),
                    size(metadata, "layers"),
                    size(metadata, "width"),
                    size(metadata, "heads")));
        }
        model.loadStateDict(dev.merapi.state.StateDict.of(Safetensors.load(folder.resolve(WEIGHTS))));
        return new Loaded(model, vocabulary);
    }

    private static int size(Map<String, String> metadata, String name) throws IOException {
        try {
            return Integer.parseInt(metadata.getOrDefault(name, "missing"));
        } catch (NumberFormatException e) {
            throw new IOException(WEIGHTS + " is not of this example: its " + name + " is " + metadata.get(name), e);
        }
    }

    /** The run in a folder of runs whose weights are the newest. */
    static @Nullable Path latest(Path runs) throws IOException {
        Path latest = null;
        if (Files.isDirectory(runs)) {
            try (DirectoryStream<Path> all = Files.newDirectoryStream(runs)) {
                for (Path run : all) {
                    if (Files.exists(run.resolve(WEIGHTS))
                            && Files.exists(run.resolve(TOKENIZER))
                            && (latest == null || newer(run, latest))) {
                        latest = run;
                    }
                }
            }
        }
        return latest;
    }

    private static boolean newer(Path run, Path than) throws IOException {
        return Files.getLastModifiedTime(run.resolve(WEIGHTS))
                        .compareTo(Files.getLastModifiedTime(than.resolve(WEIGHTS)))
                > 0;
    }
}
