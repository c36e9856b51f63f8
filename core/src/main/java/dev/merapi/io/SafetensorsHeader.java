// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.error.ShapeException;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The header of a safetensors file: what tensors there are, and which bytes of the data are theirs. */
final class SafetensorsHeader {
    private static final String METADATA = "__metadata__";
    /** NumPy's limit. */
    private static final int MOST_DIMENSIONS = 64;

    /** Bytes; what the format's own implementation accepts. */
    static final long LARGEST = 100_000_000;

    final Map<String, Entry> entries = new LinkedHashMap<>();
    final Map<String, String> metadata = new LinkedHashMap<>();
    private long size;

    /** A tensor of the file; the offsets count from the first byte after the header. */
    record Entry(String type, Shape shape, long begin, long end) {}

    // ---------------------------------------------------------------- read

    /** Parses a header and checks that its tensors fill the {@code dataSize} bytes exactly, without gap or overlap. */
    static SafetensorsHeader parse(String json, long dataSize) throws FormatException {
        SafetensorsHeader header = new SafetensorsHeader();
        JsonReader reader = new JsonReader(json);
        boolean[] metadataSeen = new boolean[1];
        reader.object(key -> {
            if (key.equals(METADATA)) {
                if (metadataSeen[0]) {
                    throw new FormatException("header: " + METADATA + " is there twice");
                }
                metadataSeen[0] = true;
                reader.object(name -> {
                    if (header.metadata.put(name, reader.string()) != null) {
                        throw new FormatException("header: metadata '" + name + "' is there twice");
                    }
                });
            } else if (header.entries.put(key, entry(reader, key)) != null) {
                throw new FormatException("header: tensor '" + key + "' is there twice");
            }
        });
        reader.end();
        header.checkCover(dataSize);
        return header;
    }

    private static Entry entry(JsonReader reader, String name) throws FormatException {
        @Nullable Object[] fields = new Object[3];
        reader.object(field -> {
            int i = List.of("dtype", "shape", "data_offsets").indexOf(field);
            if (i < 0 || fields[i] != null) {
                throw new FormatException("header: tensor '" + name + "' has "
                        + (i < 0 ? "an unknown field '" + field + "'" : field + " twice"));
            }
            fields[i] = i == 0 ? reader.string() : reader.integers(MOST_DIMENSIONS);
        });
        if (!(fields[0] instanceof String type)
                || !(fields[1] instanceof long[] sizes)
                || !(fields[2] instanceof long[] offsets)) {
            throw new FormatException("header: tensor '" + name + "' needs dtype, shape and data_offsets");
        }
        Shape shape = shape(name, sizes);
        if (offsets.length != 2 || offsets[0] > offsets[1]) {
            throw new FormatException("header: tensor '" + name + "' needs two offsets in order, but has "
                    + java.util.Arrays.toString(offsets));
        }
        long bytes = offsets[1] - offsets[0];
        FileNumber number = FileNumber.named(type); // of what is not known, the bytes are its own business
        if (number != null
                && (Math.multiplyHigh(shape.numel(), number.byteSize) != 0
                        || shape.numel() * number.byteSize != bytes)) {
            throw new FormatException("header: tensor '" + name + "', " + type + shape + ", takes " + shape.numel()
                    + " times " + number.byteSize + " bytes, but its offsets have room for " + bytes);
        }
        return new Entry(type, shape, offsets[0], offsets[1]);
    }

    private static Shape shape(String name, long[] sizes) throws FormatException {
        try {
            return Shape.of(sizes);
        } catch (ShapeException e) {
            throw new FormatException("header: tensor '" + name + "': " + e.getMessage(), e);
        }
    }

    private void checkCover(long dataSize) throws FormatException {
        List<Map.Entry<String, Entry>> order = new ArrayList<>(entries.entrySet());
        order.sort(Comparator.comparingLong((Map.Entry<String, Entry> e) -> e.getValue().begin)
                .thenComparingLong(e -> e.getValue().end));
        long covered = 0;
        for (Map.Entry<String, Entry> e : order) {
            Entry t = e.getValue();
            if (t.end > dataSize) {
                throw new FormatException("header: tensor '" + e.getKey() + "' ends at byte " + t.end
                        + " of the data, but the file has " + dataSize + ": it is cut off or damaged");
            }
            if (t.begin != covered) {
                throw new FormatException("header: tensor '" + e.getKey() + "' begins at byte " + t.begin
                        + " of the data, but the one before it ends at " + covered
                        + (t.begin < covered ? ": they overlap" : ": there is a gap"));
            }
            covered = t.end;
        }
        if (covered != dataSize) {
            throw new FormatException(
                    "header: the tensors take " + covered + " bytes, but " + dataSize + " follow the header");
        }
    }

    // ---------------------------------------------------------------- write

    /** Places a tensor behind those that are there. */
    void add(String name, DType dtype, Shape shape) {
        requireText("safetensors: the name of a tensor", name);
        if (name.equals(METADATA)) {
            throw new IllegalArgumentException("safetensors: no tensor can be named '" + METADATA + "'");
        }
        if (shape.rank() > MOST_DIMENSIONS) {
            throw new ShapeException("safetensors: tensor '" + name + "', " + dtype + shape + ", has more than "
                    + MOST_DIMENSIONS + " dimensions\n  fix: t.reshape(…) to fewer.");
        }
        long bytes = Math.multiplyExact(shape.numel(), (long) dtype.byteSize());
        entries.put(name, new Entry(FileNumber.of(dtype).name(), shape, size, Math.addExact(size, bytes)));
        size += bytes;
    }

    void addMetadata(String key, String value) {
        requireText("safetensors: a key of the metadata", key);
        requireText("safetensors: the metadata of '" + key + "'", value);
        metadata.put(key, value);
    }

    /** Half of a character cannot be written in UTF-8: it would come back as another. */
    static void requireText(String what, String text) {
        if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
            throw new IllegalArgumentException(
                    what + " holds half of a surrogate pair, which UTF-8 cannot write: " + text.replace('\n', ' '));
        }
    }

    /**
     * The bytes that a file begins with: never what a reader would refuse.
     *
     * @throws IllegalArgumentException if names and metadata are larger than any reader accepts
     */
    byte[] toBytes() {
        byte[] json = toJson().getBytes(StandardCharsets.UTF_8);
        if (json.length > LARGEST) {
            throw new IllegalArgumentException("safetensors: names and metadata take " + json.length
                    + " bytes, but readers accept " + LARGEST + "\n  fix: put large texts into files of their own.");
        }
        return ByteBuffer.allocate(8 + json.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(json.length)
                .put(json)
                .array();
    }

    /** The text, padded with spaces so that the data after it is aligned to 8 bytes; the same for the same contents. */
    private String toJson() {
        StringBuilder s = new StringBuilder("{");
        if (!metadata.isEmpty()) {
            JsonReader.quote(METADATA, s);
            s.append(":{");
            new TreeMap<>(metadata).forEach((key, value) -> {
                JsonReader.quote(key, s);
                s.append(':');
                JsonReader.quote(value, s);
                s.append(',');
            });
            s.setCharAt(s.length() - 1, '}');
            s.append(',');
        }
        entries.forEach((name, e) -> {
            JsonReader.quote(name, s);
            s.append(":{\"dtype\":\"").append(e.type).append("\",\"shape\":");
            s.append(java.util.Arrays.toString(e.shape.toArray()).replace(" ", ""));
            s.append(",\"data_offsets\":[")
                    .append(e.begin)
                    .append(',')
                    .append(e.end)
                    .append("]},");
        });
        if (s.charAt(s.length() - 1) == ',') {
            s.setLength(s.length() - 1);
        }
        s.append('}');
        int bytes = s.toString().getBytes(StandardCharsets.UTF_8).length;
        s.append(String.join("", Collections.nCopies((8 - bytes % 8) % 8, " ")));
        return s.toString();
    }
}
