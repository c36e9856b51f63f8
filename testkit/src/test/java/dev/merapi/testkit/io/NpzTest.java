// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.DTypeException;
import dev.merapi.io.FormatException;
import dev.merapi.io.Npy;
import dev.merapi.io.Npz;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Map;
import java.util.Random;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The archives in the resources were written by NumPy: {@code src/test/python/numpy_files.py}. */
class NpzTest {
    @TempDir
    Path folder;

    private Path resource(String name) throws IOException {
        Path copy = folder.resolve(name);
        try (InputStream in = NpzTest.class.getResourceAsStream(name)) {
            Files.copy(java.util.Objects.requireNonNull(in, name), copy, StandardCopyOption.REPLACE_EXISTING);
        }
        return copy;
    }

    @ParameterizedTest
    @ValueSource(strings = {"plain.npz", "compressed.npz"})
    void readsEveryTypeByteOrderAndLayoutThatNumPyWrites(String name) throws IOException {
        try (Npz open = Npz.open(resource(name));
                Scope scope = Scope.open()) {
            int compared = 0;
            for (String array : open.names()) {
                if (!array.endsWith(".value")) {
                    Tensor read = open.tensor(array);
                    Tensor value = open.tensor(array + ".value");
                    assertThat(read.shape()).as(array).isEqualTo(value.shape());
                    if (value.dtype() == DType.INT64) {
                        assertThat(read.to(DType.INT64).toLongArray()).as(array).isEqualTo(value.toLongArray());
                    } else {
                        assertThat(read.toDoubleArray()).as(array).isEqualTo(value.toDoubleArray());
                    }
                    compared++;
                }
            }
            assertThat(compared).isEqualTo(3 * 3 + 8 * 3 + 5);
            assertThat(open.tensor("u4.big").dtype()).isEqualTo(DType.INT64);
            assertThat(open.tensor("i1.little").dtype()).isEqualTo(DType.INT8);
            assertThat(open.tensor("f2.fortran").dtype()).isEqualTo(DType.FLOAT16);
            assertThatThrownBy(() -> open.tensor("absent"))
                    .hasMessageContaining("absent")
                    .hasMessageContaining("u4.big");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"version2.npy", "version3.npy"})
    void readsLaterVersionsOfTheFormat(String name) throws IOException {
        assertThat(Npy.load(resource(name)).toIntArray()).containsExactly(0, 1, 2);
    }

    @Test
    void whatIsWrittenComesBackAndIsTheSameBytesEachTime() throws IOException {
        Path file = folder.resolve("t.npz");
        Map<String, Tensor> tensors =
                Map.of("a/b", Tensor.rand(3, 4).transpose(0, 1), "ü", Tensor.of(true, false), "0", Tensor.scalar(7L));
        Npz.save(file, tensors);
        byte[] first = Files.readAllBytes(file);
        Npz.save(file, new java.util.TreeMap<>(tensors));
        assertThat(Files.readAllBytes(file)).isEqualTo(first);
        Path small = folder.resolve("small.npz");
        Npz.saveCompressed(small, Map.of("zeros", Tensor.zeros(1000)));
        assertThat(Files.size(small)).isLessThan(1000);
        assertThat(Npz.load(small).get("zeros").sum().item()).isZero();
        Map<String, Tensor> back = Npz.load(file);
        assertThat(back).hasSize(3);
        tensors.forEach((name, t) -> {
            assertThat(back.get(name).describe()).isEqualTo(t.contiguous().describe());
            assertThat(back.get(name).toDoubleArray()).isEqualTo(t.toDoubleArray());
        });
        assertThatThrownBy(() -> Npz.save(file, Map.of("x", Tensor.ones(1).to(DType.BFLOAT16))))
                .isInstanceOf(DTypeException.class);
        assertThatThrownBy(() -> Npz.save(file, Map.of("\ud800", Tensor.ones(1))))
                .isInstanceOf(IllegalArgumentException.class);
        assertThat(Files.readAllBytes(file)).isEqualTo(first);
    }

    @Test
    void whatGrowsWithoutMeasureIsRefusedAndSoIsWhatLies() throws IOException {
        Path bomb = folder.resolve("bomb.npz");
        String header = "{'descr': '|u1', 'fortran_order': False, 'shape': (" + (100L << 20) + ",), }";
        try (OutputStream out = Files.newOutputStream(bomb);
                ZipOutputStream zip = new ZipOutputStream(out)) {
            zip.putNextEntry(new ZipEntry("zeros.npy"));
            zip.write(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (byte) header.length(), 0});
            zip.write(header.getBytes(StandardCharsets.US_ASCII));
            byte[] zeros = new byte[1 << 20];
            for (int i = 0; i < 100; i++) {
                zip.write(zeros);
            }
        }
        assertThat(Files.size(bomb)).isLessThan(200_000);
        assertThatThrownBy(() -> Npz.load(bomb))
                .isInstanceOf(FormatException.class)
                .hasMessageContaining("zeros")
                .hasMessageContaining("merapi.io.expansion");
    }

    /** Whatever the damage: the very numbers that were written, or a FormatException; nothing else. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void survivesMutationAndTruncation(boolean compressed) throws IOException {
        Path file = folder.resolve("t.npz");
        Tensor t = Tensor.arange(60);
        if (compressed) {
            Npz.saveCompressed(file, Map.of("t", t));
        } else {
            Npz.save(file, Map.of("t", t));
        }
        byte[] whole = Files.readAllBytes(file);
        Random random = new Random(5);
        int refused = 0;
        for (int i = 0; i < 1000; i++) {
            byte[] bytes = i % 3 == 0 ? java.util.Arrays.copyOf(whole, random.nextInt(whole.length)) : whole.clone();
            if (i % 3 != 0) {
                bytes[random.nextInt(bytes.length)] ^= (byte) (1 << random.nextInt(8));
            }
            Files.write(file, bytes);
            try (Scope scope = Scope.open()) {
                Tensor read = Npz.load(file).get("t");
                if (read != null) { // the name was changed in both places, or the end of it
                    assertThat(read.shape()).isEqualTo(Shape.of(60));
                    assertThat(read.toLongArray()).isEqualTo(t.toLongArray());
                }
            } catch (FormatException e) {
                refused++;
            }
        }
        assertThat(refused).isGreaterThan(600);
    }
}
