// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.DTypeException;
import dev.merapi.error.DeviceException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * An open safetensors file: its header is read and checked, its tensors are read one at a time when asked for. A tensor of a
 * type that is not known here does not spoil the others.
 */
public final class SafetensorsFile implements AutoCloseable {
    private final Path path;
    private final SharedFile file;
    private final SafetensorsHeader header;
    private final long dataStart;

    private SafetensorsFile(Path path, SharedFile file, SafetensorsHeader header, long dataStart) {
        this.path = path;
        this.file = file;
        this.header = header;
        this.dataStart = dataStart;
    }

    /**
     * Opens a file and checks its header against its size.
     *
     * @param path what is read
     * @return the file, to be closed
     * @throws java.io.IOException if it cannot be read
     * @throws FormatException if the file is damaged, cut off or of another format
     */
    public static SafetensorsFile open(Path path) throws IOException {
        Objects.requireNonNull(path, "path");
        SharedFile file = new SharedFile(path);
        try {
            long size = file.size();
            if (size < 8) {
                throw new FormatException("the file has " + size + " bytes, too few for a header");
            }
            long headerSize = file.read(0, 8).getLong();
            if (headerSize < 2 || headerSize > size - 8 || headerSize > SafetensorsHeader.LARGEST) {
                throw new FormatException("the header would have " + Long.toUnsignedString(headerSize)
                        + " bytes in a file of " + size + ": this is not a safetensors file, or it is cut off");
            }
            String json = decode(file.read(8, (int) headerSize));
            return new SafetensorsFile(
                    path, file, SafetensorsHeader.parse(json, size - 8 - headerSize), 8 + headerSize);
        } catch (FormatException e) {
            file.close();
            throw new FormatException("safetensors: " + path + ": " + e.getMessage(), e);
        } catch (IOException | RuntimeException e) {
            file.close();
            throw e;
        }
    }

    private static String decode(ByteBuffer bytes) throws FormatException {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
        } catch (CharacterCodingException e) {
            throw new FormatException("the header is not UTF-8", e);
        }
    }

    /** {@return the names of the tensors, in the order of the header} */
    public Set<String> names() {
        return Collections.unmodifiableSet(header.entries.keySet());
    }

    /** {@return the free text that travels with the tensors, by name} */
    public Map<String, String> metadata() {
        return Collections.unmodifiableMap(header.metadata);
    }

    /**
     * {@return the shape of a tensor, which is not read for that}
     *
     * @param name one of {@link #names}
     */
    public Shape shape(String name) {
        return entry(name).shape();
    }

    /**
     * How the file has a tensor's numbers, in the format's own words: {@code F32}, {@code I16}, …
     *
     * @param name one of {@link #names}
     * @return the word
     */
    public String storedType(String name) {
        return entry(name).type();
    }

    /**
     * The dtype that a tensor is read as. What has none of its own is widened, exactly: U16 to int32, U32 and U64 to int64.
     *
     * @param name one of {@link #names}
     * @return the dtype
     * @throws DTypeException if there is none for what the file holds, such as C64
     */
    public DType dtype(String name) {
        return number(name).dtype;
    }

    private FileNumber number(String name) {
        SafetensorsHeader.Entry e = entry(name);
        FileNumber number = FileNumber.named(e.type());
        if (number == null) {
            throw new DTypeException("safetensors: tensor '" + name + "' is " + e.type() + e.shape()
                    + ", for which there is no dtype here\n  fix: convert it where the file is written.");
        }
        return number;
    }

    private SafetensorsHeader.Entry entry(String name) {
        SafetensorsHeader.Entry e = header.entries.get(name);
        if (e == null) {
            throw new IllegalArgumentException(
                    "safetensors: no tensor '" + name + "' in " + path + "\n  tensors: " + names());
        }
        return e;
    }

    /**
     * Reads one tensor into fresh CPU memory; it belongs to the open scope, if there is one. Threads may read side by side,
     * and be interrupted.
     *
     * @param name one of {@link #names}
     * @return a new tensor, row-major
     * @throws java.io.IOException if it cannot be read
     * @throws DTypeException as {@link #dtype}
     * @throws FormatException if the file was cut off or replaced meanwhile, or holds an unsigned number of 2^63 or
     *     more
     */
    public Tensor tensor(String name) throws IOException {
        FileNumber number = number(name);
        SafetensorsHeader.Entry e = entry(name);
        try {
            ByteSource source = ByteSource.of(file, dataStart + e.begin());
            return TensorBytes.read(source, e.shape(), number, ByteOrder.LITTLE_ENDIAN);
        } catch (FormatException damage) {
            throw new FormatException(
                    "safetensors: " + path + ": tensor '" + name + "': " + damage.getMessage(), damage);
        }
    }

    /**
     * Opens one tensor by mapping, as {@link Tensor#map} does: nothing is read before it is used, and what is written in
     * place
     * does not go to the file. What cannot be mapped (bools, what is widened, what is not aligned, what the system refuses)
     * is
     * read as by {@link #tensor}. The tensor outlives this object.
     *
     * @param name one of those that the file has
     * @return a CPU tensor in the open scope
     * @throws DTypeException as {@link #dtype}
     * @throws FormatException if the file was replaced meanwhile
     */
    public Tensor map(String name) throws IOException {
        FileNumber number = number(name);
        SafetensorsHeader.Entry e = entry(name);
        long at = dataStart + e.begin();
        boolean asItIs = number.isDirect(ByteOrder.LITTLE_ENDIAN)
                && number != FileNumber.BOOL
                && at % number.dtype.byteSize() == 0
                && ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN;
        if (!asItIs || e.shape().numel() == 0) {
            return tensor(name);
        }
        Tensor mapped;
        try {
            mapped = Tensor.map(path, at, number.dtype, e.shape().toArray());
        } catch (DeviceException none) {
            return tensor(name);
        }
        try {
            file.requireSame();
        } catch (IOException replaced) {
            mapped.close();
            throw replaced;
        }
        return mapped;
    }

    /**
     * Reads one tensor into existing memory, wherever it is; dtypes convert.
     *
     * @param name one of {@link #names}
     * @param target of the same shape; any dtype, device and layout
     * @throws java.io.IOException if it cannot be read
     * @throws ShapeException if the shapes differ
     */
    public void readInto(String name, Tensor target) throws IOException {
        Objects.requireNonNull(target, "target");
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
        file.close();
    }
}
