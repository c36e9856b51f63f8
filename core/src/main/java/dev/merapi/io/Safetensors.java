// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.state.StateDict;
import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * Named tensors in one file, in the format that the Python world exchanges weights in: eight bytes of header length, a JSON
 * header, the data. Nothing in such a file is ever executed.
 *
 * @see <a href="https://huggingface.co/docs/safetensors">the format</a>
 */
public final class Safetensors {
    private static final String STATE = "state.";

    private Safetensors() {}

    /**
     * {@link #save(Path, Map, Map)} without metadata.
     *
     * @param file what is written
     * @param tensors by name
     * @throws java.io.IOException if it cannot be written
     */
    public static void save(Path file, Map<String, Tensor> tensors) throws IOException {
        Objects.requireNonNull(file, "file");
        Objects.requireNonNull(tensors, "tensors");
        save(file, tensors, Map.of());
    }

    /**
     * Writes tensors of any device, layout and dtype; the same contents give the same bytes. The file is replaced in one
     * step when all is written, and only by what {@link #load} accepts.
     *
     * @param file what is written
     * @param tensors by name
     * @param metadata free text by name, which travels along
     * @throws java.io.IOException if it cannot be written
     * @throws IllegalArgumentException if a tensor is named {@code __metadata__}, if a name or text is not Unicode, or
     *     if names and metadata take more than 100 MB
     * @throws dev.merapi.error.ShapeException if a tensor has more than 64 dimensions
     */
    public static void save(Path file, Map<String, Tensor> tensors, Map<String, String> metadata) throws IOException {
        Objects.requireNonNull(file, "file");
        Objects.requireNonNull(tensors, "tensors");
        Objects.requireNonNull(metadata, "metadata");
        List<String> names = new ArrayList<>(tensors.keySet());
        // Wide elements first keeps every tensor aligned to its element.
        names.sort((a, b) -> {
            int order = Integer.compare(
                    get(tensors, b).dtype().byteSize(), get(tensors, a).dtype().byteSize());
            return order != 0 ? order : a.compareTo(b);
        });
        SafetensorsHeader header = new SafetensorsHeader();
        metadata.forEach(header::addMetadata);
        for (String name : names) {
            header.add(name, get(tensors, name).dtype(), get(tensors, name).shape());
        }
        byte[] start = header.toBytes();
        AtomicFile.write(file, channel -> {
            write(ByteBuffer.wrap(start), channel);
            for (String name : names) {
                TensorBytes.write(get(tensors, name), channel);
            }
        });
    }

    /**
     * Writes a state: its tensors, and the rest as metadata, whose names begin with {@code state.}
     *
     * @param file is replaced as a whole, or stays as it was if this fails
     * @param state tensors of any device
     * @throws IOException if it cannot be written
     */
    public static void save(Path file, StateDict state) throws IOException {
        Objects.requireNonNull(file, "file");
        Objects.requireNonNull(state, "state");
        Map<String, String> metadata = new LinkedHashMap<>();
        state.literals().forEach((name, text) -> metadata.put(STATE + name, text));
        save(file, state.all(Tensor.class), metadata);
    }

    /**
     * Reads what {@link #save(Path, StateDict)} wrote; of another file its tensors.
     *
     * @param file to be read
     * @return tensors on the CPU, and the rest
     * @throws FormatException as {@link #load}
     */
    public static StateDict loadState(Path file) throws IOException {
        Objects.requireNonNull(file, "file");
        Map<String, String> literals = new LinkedHashMap<>();
        try (SafetensorsFile open = SafetensorsFile.open(file)) {
            open.metadata().forEach((name, text) -> {
                if (name.startsWith(STATE)) {
                    literals.put(name.substring(STATE.length()), text);
                }
            });
        }
        return StateDict.of(load(file), literals);
    }

    private static Tensor get(Map<String, Tensor> tensors, String name) {
        return java.util.Objects.requireNonNull(tensors.get(name), name);
    }

    private static void write(ByteBuffer bytes, FileChannel channel) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    /**
     * Opens a file to read some of its tensors, or its metadata.
     *
     * @param file what is read
     * @return the file, to be closed
     * @throws java.io.IOException if it cannot be read
     */
    public static SafetensorsFile open(Path file) throws IOException {
        Objects.requireNonNull(file, "file");
        return SafetensorsFile.open(file);
    }

    /**
     * Opens all tensors by mapping ({@link SafetensorsFile#map}): at once, whatever the size of the file, which must not be
     * cut
     * as long as they live.
     *
     * @param file to be opened
     * @return by name, in the order of the file
     * @throws FormatException as {@link #load}
     * @throws dev.merapi.error.DTypeException as {@link #load}
     */
    public static Map<String, Tensor> map(Path file) throws IOException {
        Objects.requireNonNull(file, "file");
        return all(file, SafetensorsFile::map);
    }

    /**
     * Reads all tensors into fresh CPU memory; they belong to the open scope, if there is one.
     *
     * @param file what is read
     * @return new tensors by name, in the order of the file
     * @throws java.io.IOException if it cannot be read
     * @throws FormatException if the file is damaged, cut off or of another format
     * @throws dev.merapi.error.DTypeException if a tensor is of a type that there is no dtype for; {@link #open} reads
     *     the others
     */
    public static Map<String, Tensor> load(Path file) throws IOException {
        Objects.requireNonNull(file, "file");
        return all(file, SafetensorsFile::tensor);
    }

    private interface Reader {
        Tensor read(SafetensorsFile file, String name) throws IOException;
    }

    private static Map<String, Tensor> all(Path file, Reader reader) throws IOException {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        try (SafetensorsFile open = SafetensorsFile.open(file)) {
            for (String name : open.names()) {
                tensors.put(name, reader.read(open, name));
            }
            return tensors;
        } catch (IOException | RuntimeException e) {
            tensors.values().forEach(Tensor::close);
            throw e;
        }
    }
}
