// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.io.FormatException;
import dev.merapi.io.Idx;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Random;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class IdxTest {
    private static byte[] bytes(int type, int[] sizes, byte... data) {
        ByteBuffer b = ByteBuffer.allocate(4 + 4 * sizes.length + data.length);
        b.put((byte) 0).put((byte) 0).put((byte) type).put((byte) sizes.length);
        for (int s : sizes) {
            b.putInt(s);
        }
        return b.put(data).array();
    }

    private static byte[] zipped(byte[] plain) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (GZIPOutputStream zip = new GZIPOutputStream(out)) {
            zip.write(plain);
        }
        return out.toByteArray();
    }

    private static Tensor read(byte[] bytes) throws IOException {
        return Idx.read(new ByteArrayInputStream(bytes), "test");
    }

    @Test
    void readsBytesPlainAndZipped() throws IOException {
        byte[] plain = bytes(8, new int[] {2, 3}, (byte) 1, (byte) 2, (byte) 3, (byte) 4, (byte) 5, (byte) 255);
        for (byte[] file : new byte[][] {plain, zipped(plain)}) {
            Tensor t = read(file);
            assertThat(t.dtype()).isEqualTo(DType.UINT8);
            assertThat(t.shape()).isEqualTo(Shape.of(2, 3));
            assertThat(t.toIntArray()).containsExactly(1, 2, 3, 4, 5, 255);
        }
    }

    @Test
    void readsWiderTypesBigEndian() throws IOException {
        byte[] f32 = ByteBuffer.allocate(8).putFloat(1.5f).putFloat(-2).array();
        assertThat(read(bytes(13, new int[] {2}, f32)).toFloatArray()).containsExactly(1.5f, -2);
        byte[] i32 = ByteBuffer.allocate(4).putInt(-70000).array();
        assertThat(read(bytes(12, new int[] {1}, i32)).toIntArray()).containsExactly(-70000);
        byte[] f64 = ByteBuffer.allocate(8).putDouble(Math.PI).array();
        assertThat(read(bytes(14, new int[] {}, f64)).item()).isEqualTo(Math.PI);
    }

    @Test
    void readsNarrowTypes() throws IOException {
        assertThat(read(bytes(9, new int[] {2}, (byte) -1, (byte) 127)).toIntArray())
                .containsExactly(-1, 127);
        Tensor t = read(bytes(11, new int[] {2}, (byte) -1, (byte) -2, (byte) 1, (byte) 0));
        assertThat(t.dtype()).isEqualTo(DType.INT16);
        assertThat(t.toIntArray()).containsExactly(-2, 256);
    }

    @Test
    void whatGrowsWithoutMeasureIsRefused() throws IOException {
        byte[] bomb = zipped(bytes(8, new int[] {70 << 20}, new byte[70 << 20]));
        assertThat(bomb.length).isLessThan(100_000);
        assertThatThrownBy(() -> read(bomb))
                .isInstanceOf(FormatException.class)
                .hasMessageContaining("merapi.io.expansion");
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void refusesClaimsThatTheFileDoesNotKeep(boolean zip) throws IOException {
        byte[][] files = {
            {},
            {0, 0, 8},
            {0, 0, 8, 3, 0, 0, 0, 1},
            {1, 0, 8, 0, 5},
            {0, 0, 10, 1, 0, 0, 0, 0}, // no such type
            bytes(8, new int[] {3}, (byte) 1, (byte) 2), // too short
            bytes(8, new int[] {1}, (byte) 1, (byte) 2), // too long
            bytes(8, new int[] {2147483000}, (byte) 1), // would be 2 GB
            bytes(8, new int[] {-1, -1, -1, -1}, (byte) 1), // overflows
            bytes(14, new int[] {-1, 65536}, (byte) 1),
        };
        for (byte[] file : files) {
            byte[] source = zip ? zipped(file) : file;
            assertThatThrownBy(() -> read(source))
                    .isInstanceOf(FormatException.class)
                    .hasMessageContaining("test");
        }
    }

    @Test
    void survivesMutationAndTruncationOfTheCompressedFile() throws IOException {
        byte[] whole = zipped(bytes(8, new int[] {10, 10}, new byte[100]));
        Random random = new Random(3);
        for (int i = 0; i < 2000; i++) {
            byte[] file = java.util.Arrays.copyOf(whole, i % 2 == 0 ? random.nextInt(whole.length) : whole.length);
            if (i % 2 == 1) {
                file[random.nextInt(file.length)] ^= (byte) (1 << random.nextInt(8));
            }
            try {
                assertThat(read(file).shape()).isEqualTo(Shape.of(10, 10));
            } catch (FormatException expected) {
                assertThat(expected).hasMessageContaining("idx: test");
            }
        }
    }
}
