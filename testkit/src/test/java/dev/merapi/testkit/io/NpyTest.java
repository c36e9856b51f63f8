// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.DTypeException;
import dev.merapi.io.FormatException;
import dev.merapi.io.Npy;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class NpyTest {
    @TempDir
    Path folder;

    private Path file() {
        return folder.resolve("t.npy");
    }

    private Path write(String header, int... data) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (byte) header.length(), 0});
        out.write(header.getBytes(StandardCharsets.US_ASCII));
        for (int b : data) {
            out.write(b);
        }
        return Files.write(file(), out.toByteArray());
    }

    @ParameterizedTest
    @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "BFLOAT16")
    void everyDTypeAndRankComesBack(DType dtype) throws IOException {
        for (Shape shape : new Shape[] {Shape.SCALAR, Shape.of(0), Shape.of(5), Shape.of(2, 3), Shape.of(2, 1, 3)}) {
            Tensor t = Tensor.randint(0, 2, shape, DType.INT64, Device.CPU).to(dtype);
            Npy.save(file(), t);
            assertThat(Files.size(file()) - t.numel() * dtype.byteSize()).isEqualTo(128); // aligned to 64
            Tensor back = Npy.load(file());
            assertThat(back.describe()).isEqualTo(t.describe());
            assertThat(back.toDoubleArray()).isEqualTo(t.toDoubleArray());
        }
    }

    @Test
    void readsWhatNumPyWrites() throws IOException {
        write("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }   \n", 1, 2, 255);
        assertThat(Npy.load(file()).toIntArray()).containsExactly(1, 2, 255);
        write("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n", 1, 4, 2, 5, 3, 6);
        Tensor t = Npy.load(file());
        assertThat(t.shape()).isEqualTo(Shape.of(2, 3));
        assertThat(t.toIntArray()).containsExactly(1, 2, 3, 4, 5, 6);
        write("{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", 0, 0, 0x20, 0x40);
        assertThat(Npy.load(file()).item()).isEqualTo(2.5);
    }

    /** Not only NumPy writes such files, and not only one version of it. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "{'shape': (2,), 'fortran_order': False, 'descr': '<u2'}",
                "{ 'descr' : '<u2' , 'fortran_order' : False , 'shape' : ( 2 , ) }",
                "{\"descr\":\"<u2\",\"fortran_order\":False,\"shape\":(2,)}\n",
                "{'descr': '<u2', 'fortran_order': False, 'shape': (2L,), }",
                "{'descr': '=u2', 'fortran_order': False, 'shape': [2], }",
                "{u'descr': 'u2', 'fortran_order': True, 'shape': (2,), }   \n\n"
            })
    void readsHeadersHoweverTheyAreWritten(String header) throws IOException {
        write(header, 255, 255, 1, 0);
        Tensor t = Npy.load(file());
        assertThat(t.dtype()).isEqualTo(DType.INT32);
        assertThat(t.toIntArray()).containsExactly(65535, 1);
    }

    @ParameterizedTest
    @ValueSource(strings = {"|b1", "?", "|?", "<b1", "b1"})
    void readsBoolsAsNumPyDoes(String descr) throws IOException {
        write("{'descr': '" + descr + "', 'fortran_order': False, 'shape': (4,), }", 0, 1, 2, 255);
        Tensor t = Npy.load(file());
        assertThat(t.dtype()).isEqualTo(DType.BOOL);
        assertThat(t.toIntArray()).containsExactly(0, 1, 1, 1);
    }

    @Test
    void unsignedNumbersThatNoDTypeHoldsAreRefused() throws IOException {
        write("{'descr': '<u8', 'fortran_order': False, 'shape': (1,), }", 1, 0, 0, 0, 0, 0, 0, 0);
        assertThat(Npy.load(file()).toLongArray()).containsExactly(1);
        write("{'descr': '<u8', 'fortran_order': False, 'shape': (1,), }", 0, 0, 0, 0, 0, 0, 0, 128);
        assertThatThrownBy(() -> Npy.load(file()))
                .isInstanceOf(FormatException.class)
                .hasMessageContaining("9223372036854775808");
    }

    @Test
    void moreDimensionsThanNumPyHasAreRefusedBeforeTheOldFileIsLost() throws IOException {
        Npy.save(file(), Tensor.of(1f));
        long[] ones = new long[65];
        java.util.Arrays.fill(ones, 1);
        assertThatThrownBy(() -> Npy.save(file(), Tensor.zeros(ones)))
                .isInstanceOf(dev.merapi.error.ShapeException.class)
                .hasMessageContaining("64");
        assertThat(Npy.load(file()).item()).isEqualTo(1);
    }

    @Test
    void bfloat16IsRefusedWithAWayOut() {
        assertThatThrownBy(() -> Npy.save(file(), Tensor.ones(2).to(DType.BFLOAT16)))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("FLOAT32");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{'descr': '<c8', 'fortran_order': False, 'shape': (0,), }",
                "{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }",
                "{'descr': '<V2', 'fortran_order': False, 'shape': (2,), }",
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
                "{'descr': '|f4', 'fortran_order': False, 'shape': (1,), }",
                "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
                "{'descr': '<f4', 'shape': (1,), }",
                "{'descr': '<f4', 'fortran_order': maybe, 'shape': (1,), }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1L L), }",
                "{'descr': 'O', 'fortran_order': False, 'shape': (1,), }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387905,), }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (,), }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1,), }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
                "import os"
            })
    void refusesWhatDoesNotFit(String header) throws IOException {
        write(header, 0, 0, 0, 0);
        assertThatThrownBy(() -> Npy.load(file())).isInstanceOf(FormatException.class);
    }

    @Test
    void survivesMutationAndTruncation() throws IOException {
        Npy.save(file(), Tensor.rand(4, 3));
        byte[] whole = Files.readAllBytes(file());
        Random random = new Random(7);
        int refused = 0;
        for (int i = 0; i < 2000; i++) {
            byte[] bytes = i % 2 == 0 ? java.util.Arrays.copyOf(whole, random.nextInt(whole.length)) : whole.clone();
            if (i % 2 == 1) {
                bytes[random.nextInt(61)] = (byte) random.nextInt(256);
            }
            Files.write(file(), bytes);
            try {
                Npy.load(file()).close();
            } catch (FormatException e) {
                refused++;
            }
        }
        assertThat(refused).isGreaterThan(1500);
    }
}
