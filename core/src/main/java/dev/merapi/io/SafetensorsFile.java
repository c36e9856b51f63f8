// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.Map;
import java.util.Set;

/** An open safetensors file: its header is read and checked, its tensors are read one at a time when asked for. */
public final class SafetensorsFile implements AutoCloseable {
    /** What the format's own implementation accepts. */
    private static final long LARGEST_HEADER = 100_000_000;

    private final Path path;
    private final FileChannel channel;
    private final SafetensorsHeader header;
    private final long dataStart;

    private SafetensorsFile(Path path, FileChannel channel, SafetensorsHeader header, long dataStart) {
        this.path = path;
        this.channel = channel;
        this.header = header;
        this.dataStart = dataStart;
    }

    /**
     * Opens a file and checks its header against its size.
     *
     * @throws FormatException if the file is damaged, cut off or of another format
     */
    public static SafetensorsFile open(Path path) throws IOException {
        FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
        try {
            long size = channel.size();
            if (size < 8) {
                throw new FormatException("the file has " + size + " bytes, too few for a header");
            }
            long headerSize = read(channel, 0, 8).getLong();
            if (headerSize < 2 || headerSize > size - 8 || headerSize > LARGEST_HEADER) {
                throw new FormatException("the header would have " + Long.toUnsignedString(headerSize)
                        + " bytes in a file of " + size + ": this is not a safetensors file, or it is cut off");
            }
            String json = decode(read(channel, 8, (int) headerSize));
            return new SafetensorsFile(
                    path, channel, SafetensorsHeader.parse(json, size - 8 - headerSize), 8 + headerSize);
        } catch (FormatException e) {
            channel.close();
            throw new FormatException("safetensors: " + path + ": " + e.getMessage(), e);
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw e;
        }
    }

    private static ByteBuffer read(FileChannel channel, long position, int count) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
        while (bytes.hasRemaining()) {
            if (channel.read(bytes, position + bytes.position()) < 0) {
                throw new FormatException("the file ended while its header was being read");
            }
        }
        return bytes.flip();
    }

    private static String decode(ByteBuffer bytes) throws FormatException {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
        } catch (CharacterCodingException e) {
            throw new FormatException("the header is not UTF-8", e);
        }
    }

    /** Names of the tensors, in the order of the header. */
    public Set<String> names() {
        return Collections.unmodifiableSet(header.entries.keySet());
    }

    /** The free text that travels with the tensors. */
    public Map<String, String> metadata() {
        return Collections.unmodifiableMap(header.metadata);
    }

    public Shape shape(String name) {
        return entry(name).shape();
    }

    /** @throws DTypeException if there is no tensor type for what the file holds, such as I16 */
    public DType dtype(String name) {
        SafetensorsHeader.Entry e = entry(name);
        DType dtype = SafetensorsHeader.dtype(e.type());
        if (dtype == null) {
            throw new DTypeException("safetensors: tensor '" + name + "' is " + e.type() + e.shape()
                    + ", for which there is no dtype here\n  fix: convert it where the file is written.");
        }
        return dtype;
    }

    private SafetensorsHeader.Entry entry(String name) {
        SafetensorsHeader.Entry e = header.entries.get(name);
        if (e == null) {
            throw new IllegalArgumentException(
                    "safetensors: no tensor '" + name + "' in " + path + "\n  tensors: " + names());
        }
        return e;
    }

    /** Reads one tensor into fresh CPU memory; it belongs to the open scope, if there is one. */
    public Tensor tensor(String name) throws IOException {
        DType dtype = dtype(name);
        SafetensorsHeader.Entry e = entry(name);
        try {
            return TensorBytes.read(channel, dataStart + e.begin(), e.shape(), dtype);
        } catch (FormatException damage) {
            throw new FormatException(
                    "safetensors: " + path + ": tensor '" + name + "': " + damage.getMessage(), damage);
        }
    }

    /**
     * Reads one tensor into existing memory, wherever it is; dtypes convert.
     *
     * @throws ShapeException if the shapes differ
     */
    public void readInto(String name, Tensor target) throws IOException {
        if (!target.shape().equals(shape(name))) {
            throw new ShapeException("safetensors: tensor '" + name + "' of " + path + " has shape " + shape(name)
                    + ", the target is " + target.describe());
        }
        try (Autograd.Mode mode = Autograd.noGrad();
                Tensor read = tensor(name);
                Tensor moved = read.to(target.device())) {
            target.copy_(moved);
        }
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}
