// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.io.FormatException;
import dev.merapi.io.Safetensors;
import dev.merapi.io.SafetensorsFile;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class SafetensorsTest {
    @TempDir
    Path folder;

    private Path file() {
        return folder.resolve("t.safetensors");
    }

    private Path write(String header, int dataBytes) throws IOException {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        ByteBuffer b = ByteBuffer.allocate(8 + json.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN);
        return Files.write(file(), b.putLong(json.length).put(json).array());
    }

    @ParameterizedTest
    @EnumSource
    void everyDTypeComesBackBitForBit(DType dtype) throws IOException {
        Tensor t = Tensor.randint(0, 2, Shape.of(3, 5), DType.INT64, Device.CPU).to(dtype);
        Safetensors.save(file(), Map.of("t", t));
        Tensor back = Safetensors.load(file()).get("t");
        assertThat(back.dtype()).isEqualTo(dtype);
        assertThat(back.shape()).isEqualTo(t.shape());
        assertThat(back.toDoubleArray()).isEqualTo(t.toDoubleArray());
    }

    @Test
    void keepsSpecialValuesLayoutsSizesNamesAndMetadata() throws IOException {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("a.b \"quoted\" \\ ü \n", Tensor.of(Float.NaN, -0f, Float.POSITIVE_INFINITY, Float.MIN_VALUE));
        tensors.put("scalar", Tensor.scalar(2.5));
        tensors.put("empty", Tensor.zeros(DType.INT32, 3, 0, 2));
        Tensor matrix = Tensor.arange(12).to(DType.FLOAT32).view(3, 4);
        tensors.put("transposed", matrix.transpose(0, 1));
        tensors.put("part", matrix.slice(1, 1, 3));
        tensors.put("expanded", Tensor.of(1, 2).unsqueeze(1).expand(2, 3));
        Map<String, String> metadata = Map.of("key", "va\tlue", "€", "");
        Safetensors.save(file(), tensors, metadata);
        try (SafetensorsFile open = Safetensors.open(file())) {
            assertThat(open.metadata()).isEqualTo(metadata);
            assertThat(open.names()).containsExactlyInAnyOrderElementsOf(tensors.keySet());
            for (String name : tensors.keySet()) {
                Tensor expected = tensors.get(name);
                Tensor actual = open.tensor(name);
                assertThat(actual.describe()).as(name).isEqualTo(expected.describe());
                assertThat(actual.toDoubleArray()).as(name).isEqualTo(expected.toDoubleArray());
            }
        }
    }

    @Test
    void theSameContentsGiveTheSameBytesAlignedToTheirElements() throws IOException {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("byte", Tensor.of((byte) 1, (byte) 2, (byte) 3));
        tensors.put("wide", Tensor.of(1.0, 2.0));
        Safetensors.save(file(), tensors, Map.of("b", "1", "a", "2"));
        byte[] first = Files.readAllBytes(file());
        Safetensors.save(file(), new java.util.TreeMap<>(tensors), new java.util.TreeMap<>(Map.of("a", "2", "b", "1")));
        assertThat(Files.readAllBytes(file())).isEqualTo(first);
        long header = ByteBuffer.wrap(first).order(ByteOrder.LITTLE_ENDIAN).getLong();
        assertThat(header % 8).isZero();
        assertThat(new String(first, 8, (int) header, StandardCharsets.UTF_8))
                .contains("\"wide\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]}");
    }

    @Test
    void aFailedSaveLeavesTheOldFileAndNoOther() throws IOException {
        Safetensors.save(file(), Map.of("t", Tensor.of(1f)));
        Tensor closed = Tensor.of(2f);
        closed.close();
        assertThatThrownBy(() -> Safetensors.save(file(), Map.of("t", closed)));
        assertThat(Safetensors.load(file()).get("t").item()).isEqualTo(1);
        try (Stream<Path> left = Files.list(folder)) {
            assertThat(left).hasSize(1);
        }
    }

    @Test
    void readsIntoExistingTensorsOfTheSameShape() throws IOException {
        Safetensors.save(file(), Map.of("t", Tensor.of(1.5, 2.5)));
        try (SafetensorsFile open = Safetensors.open(file())) {
            Tensor target = Tensor.zeros(2);
            open.readInto("t", target);
            assertThat(target.toFloatArray()).containsExactly(1.5f, 2.5f);
            assertThatThrownBy(() -> open.readInto("t", Tensor.zeros(3)))
                    .isInstanceOf(ShapeException.class)
                    .hasMessageContaining("[2]")
                    .hasMessageContaining("[3]");
            assertThatThrownBy(() -> open.tensor("missing"))
                    .hasMessageContaining("missing")
                    .hasMessageContaining("[t]");
        }
    }

    @ParameterizedTest
    @CsvSource({"F8_E4M3,2", "F8_E8M0,2", "F4,1", "C64,16", "Q9,0"})
    void opensFilesWithForeignDTypesAndRefusesOnlyThose(String type, int bytes) throws IOException {
        write(
                String.format(
                        "{\"x\":{\"dtype\":\"%s\",\"shape\":[2],\"data_offsets\":[0,%d]},"
                                + "\"y\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}}",
                        type, bytes, bytes, bytes + 1),
                bytes + 1);
        try (SafetensorsFile open = Safetensors.open(file())) {
            assertThat(open.tensor("y").item()).isZero();
            assertThat(open.storedType("x")).isEqualTo(type);
            assertThatThrownBy(() -> open.tensor("x"))
                    .isInstanceOf(DTypeException.class)
                    .hasMessageContaining(type);
        }
        assertThatThrownBy(() -> Safetensors.load(file())).isInstanceOf(DTypeException.class);
    }

    @Test
    void widensWhatHasNoDTypeOfItsOwn() throws IOException {
        write(
                "{'a':{'dtype':'I8','shape':[2],'data_offsets':[0,2]},'b':{'dtype':'I16','shape':[1],'data_offsets':[2,4]},"
                                .replace('\'', '"')
                        + "'c':{'dtype':'U16','shape':[1],'data_offsets':[4,6]},".replace('\'', '"')
                        + "'d':{'dtype':'U32','shape':[1],'data_offsets':[6,10]},".replace('\'', '"')
                        + "'e':{'dtype':'U64','shape':[1],'data_offsets':[10,18]}}".replace('\'', '"'),
                18);
        byte[] bytes = Files.readAllBytes(file());
        java.util.Arrays.fill(bytes, bytes.length - 18, bytes.length - 8, (byte) -1);
        Files.write(file(), bytes);
        Map<String, Tensor> t = Safetensors.load(file());
        assertThat(t.get("a").toIntArray()).containsExactly(-1, -1);
        assertThat(t.get("b").toIntArray()).containsExactly(-1);
        assertThat(t.get("c").toIntArray()).containsExactly(65535);
        assertThat(t.get("d").toLongArray()).containsExactly(4294967295L);
        assertThat(t.get("e").toLongArray()).containsExactly(0);
        bytes[bytes.length - 1] = -1;
        Files.write(file(), bytes);
        assertThatThrownBy(() -> Safetensors.load(file()))
                .isInstanceOf(FormatException.class)
                .hasMessageContaining("'e'");
    }

    /** A good file is never replaced by one that cannot be read. */
    @Test
    void writersRefuseWhatReadersWould() throws IOException {
        Safetensors.save(file(), Map.of("t", Tensor.of(1f)));
        byte[] before = Files.readAllBytes(file());
        long[] ones = new long[65];
        java.util.Arrays.fill(ones, 1);
        Tensor t = Tensor.of(1f);
        Map<String, Tensor> deep = Map.of("deep", t.reshape(ones));
        assertThatThrownBy(() -> Safetensors.save(file(), deep))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("deep");
        for (Map<String, Tensor> names : java.util.List.of(Map.of("\ud800x", t), Map.of("__metadata__", t))) {
            assertThatThrownBy(() -> Safetensors.save(file(), names)).isInstanceOf(IllegalArgumentException.class);
        }
        for (Map<String, String> metadata : java.util.List.of(
                Map.of("a\udc00", "b"), Map.of("a", "b\ud83d"), Map.of("a", "x".repeat(100_000_001)))) {
            assertThatThrownBy(() -> Safetensors.save(file(), Map.of("t", t), metadata))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("safetensors");
        }
        assertThat(Files.readAllBytes(file())).isEqualTo(before);
        Safetensors.save(file(), Map.of("\ud83d\ude00", t), Map.of("\ud83d\ude00", "\ud83d\ude00"));
        assertThat(Safetensors.load(file())).containsOnlyKeys("\ud83d\ude00");
    }

    @Test
    void anInterruptDisturbsNoReader() throws Exception {
        Tensor t = Tensor.rand(1 << 20);
        Safetensors.save(file(), Map.of("t", t));
        double sum = t.sum().item();
        try (SafetensorsFile open = Safetensors.open(file())) {
            java.util.List<Throwable> failures = new java.util.concurrent.CopyOnWriteArrayList<>();
            java.util.concurrent.atomic.AtomicInteger interrupted = new java.util.concurrent.atomic.AtomicInteger();
            Thread[] readers = new Thread[3];
            for (int i = 0; i < readers.length; i++) {
                readers[i] = new Thread(() -> {
                    try {
                        for (int k = 0; k < 40; k++) {
                            try (Tensor read = open.tensor("t")) {
                                assertThat(read.sum().item()).isEqualTo(sum);
                            }
                            if (Thread.interrupted()) { // it is still told
                                interrupted.incrementAndGet();
                            }
                        }
                    } catch (Throwable e) {
                        failures.add(e);
                    }
                });
                readers[i].start();
            }
            while (readers[0].isAlive()) {
                readers[0].interrupt();
                Thread.sleep(1);
            }
            for (Thread reader : readers) {
                reader.join();
            }
            assertThat(failures).isEmpty();
            assertThat(interrupted.get()).isPositive();
        }
        SafetensorsFile closed = Safetensors.open(file());
        closed.close();
        assertThatThrownBy(() -> closed.tensor("t"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("closed");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '~',
            value = {
                "too few bytes at the end | {'t':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 7 | cut off",
                "too many                 | {'t':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 9 | 9 follow",
                "offsets of another size  | {'t':{'dtype':'F32','shape':[2],'data_offsets':[0,4]}} | 4 | room for 4",
                "offsets in disorder      | {'t':{'dtype':'F32','shape':[0],'data_offsets':[4,0]}} | 4 | in order",
                "overflowing sizes        | {'t':{'dtype':'F64','shape':[4294967296,4294967296],'data_offsets':[0,0]}} | 0 | 2^63",
                "sizes that wrap to 0     | {'t':{'dtype':'F64','shape':[2305843009213693952],'data_offsets':[0,0]}} | 0 | room for 0",
                "a huge claim             | {'t':{'dtype':'F32','shape':[1000000000000],'data_offsets':[0,4000000000000]}} | 8 | cut off",
                "an integer beyond long   | {'t':{'dtype':'F32','shape':[99999999999999999999],'data_offsets':[0,0]}} | 0 | 2^63",
                "a negative size          | {'t':{'dtype':'F32','shape':[-1],'data_offsets':[0,0]}} | 0 | integer",
                "overlap                  | {'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},'b':{'dtype':'U8','shape':[4],'data_offsets':[2,6]}} | 6 | overlap",
                "a gap                    | {'a':{'dtype':'U8','shape':[2],'data_offsets':[0,2]},'b':{'dtype':'U8','shape':[2],'data_offsets':[3,5]}} | 5 | gap",
                "a name twice             | {'a':{'dtype':'U8','shape':[0],'data_offsets':[0,0]},'a':{'dtype':'U8','shape':[0],'data_offsets':[0,0]}} | 0 | twice",
                "a field twice            | {'a':{'dtype':'U8','dtype':'U8','shape':[0],'data_offsets':[0,0]}} | 0 | twice",
                "an unknown field         | {'a':{'dtype':'U8','shape':[0],'data_offsets':[0,0],'x':1}} | 0 | unknown",
                "a missing field          | {'a':{'dtype':'U8','shape':[0]}} | 0 | needs",
                "metadata of numbers      | {'__metadata__':{'a':1}} | 0 | expected",
                "text after the end       | {} x | 0 | after the end",
                "an object without end    | {'a':{'dtype':'U8' | 0 | expected",
                "a string without end     | {'a | 0 | does not end",
                "no object                | [] | 0 | expected",
                "a leading zero           | {'a':{'dtype':'U8','shape':[00],'data_offsets':[0,0]}} | 0 | integer"
            })
    void refusesDamagedHeaders(String what, String header, int bytes, String message) throws IOException {
        write(header.replace('\'', '"'), bytes);
        assertThatThrownBy(() -> Safetensors.load(file()))
                .as(what)
                .isInstanceOf(FormatException.class)
                .hasMessageContaining(file().toString())
                .hasMessageContaining(message);
    }

    @Test
    void refusesMoreDimensionsThanAnyTensorHas() throws IOException {
        String entry = "{\"t\":{\"dtype\":\"U8\",\"shape\":[1%s],\"data_offsets\":[0,1]}}";
        write(String.format(entry, ",1".repeat(63)), 1);
        assertThat(Safetensors.load(file()).get("t").rank()).isEqualTo(64);
        write(String.format(entry, ",1".repeat(300_000)), 1);
        assertThatThrownBy(() -> Safetensors.load(file()))
                .isInstanceOf(FormatException.class)
                .hasMessageContaining("more than 64");
    }

    @Test
    void refusesHeadersThatAreLongerThanTheFileWithoutAllocatingThem() throws IOException {
        for (long length : new long[] {-1, 0, 1, 17, 90_000_000, 0x7fffffffL, Long.MAX_VALUE, Long.MIN_VALUE}) {
            ByteBuffer b =
                    ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN).putLong(length);
            Files.write(file(), b.array());
            assertThatThrownBy(() -> Safetensors.load(file())).isInstanceOf(FormatException.class);
        }
        Files.write(file(), new byte[7]);
        assertThatThrownBy(() -> Safetensors.load(file())).isInstanceOf(FormatException.class);
    }

    @Test
    void bytesOfBoolsOtherThanZeroAreTrue() throws IOException {
        Safetensors.save(file(), Map.of("t", Tensor.of(true, false)));
        byte[] bytes = Files.readAllBytes(file());
        bytes[bytes.length - 2] = 2;
        Files.write(file(), bytes);
        Tensor t = Safetensors.load(file()).get("t");
        assertThat(t.toIntArray()).containsExactly(1, 0);
        assertThat(t.sum().item()).isEqualTo(1);
    }

    /** Whatever the damage: the tensors of a file of that size, or a FormatException; nothing else. */
    @Test
    void survivesMutationAndTruncation() throws IOException {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("weight", Tensor.rand(3, 4));
        tensors.put("mask", Tensor.of(true, false, true));
        tensors.put("count", Tensor.scalar(7L));
        Safetensors.save(file(), tensors, Map.of("k", "v"));
        byte[] whole = Files.readAllBytes(file());
        Random random = new Random(42);
        int refused = 0;
        for (int i = 0; i < 3000; i++) {
            byte[] bytes = whole.clone();
            if (i % 3 == 0) {
                bytes = java.util.Arrays.copyOf(whole, random.nextInt(whole.length));
            } else {
                for (int k = random.nextInt(4); k >= 0; k--) {
                    bytes[random.nextInt(i % 3 == 1 ? 180 : bytes.length)] = (byte) random.nextInt(256);
                }
            }
            Files.write(file(), bytes);
            try {
                Safetensors.load(file()).values().forEach(Tensor::close);
            } catch (FormatException e) {
                refused++;
            } catch (dev.merapi.error.DTypeException e) {
                assertThat(e).hasMessageContaining("no dtype"); // a mutation made it one of the foreign types
            }
        }
        assertThat(refused).isGreaterThan(1500);
    }

    @Test
    void anEmptyMapIsAFile() {
        assertThatCode(() -> Safetensors.save(file(), Map.of())).doesNotThrowAnyException();
        assertThatCode(() -> assertThat(Safetensors.load(file())).isEmpty()).doesNotThrowAnyException();
    }
}
