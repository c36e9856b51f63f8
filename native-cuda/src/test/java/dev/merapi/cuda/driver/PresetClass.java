// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What the class file of a preset says about constants and functions: JavaCPP's parser wrote it from NVIDIA's headers. It
 * is read and not loaded, for its initializer wants a driver.
 *
 * @param constants of type int, by name
 * @param functions bytes of each parameter, as an address, int, long …, by name; a list for each overload
 */
record PresetClass(Map<String, Integer> constants, Map<String, List<List<Integer>>> functions) {
    /** Null if it is not on the class path. */
    static @Nullable PresetClass read(String name) throws IOException {
        try (InputStream in = PresetClass.class.getResourceAsStream("/" + name.replace('.', '/') + ".class")) {
            return in == null ? null : parse(new DataInputStream(in));
        }
    }

    private static PresetClass parse(DataInputStream in) throws IOException {
        in.skipNBytes(8);
        Object[] pool = pool(in);
        in.skipNBytes(6);
        in.skipNBytes(2L * in.readUnsignedShort());
        PresetClass result = new PresetClass(new HashMap<>(), new HashMap<>());
        for (int kind = 0; kind < 2; kind++) {
            for (int n = in.readUnsignedShort(); n > 0; n--) {
                in.skipNBytes(2);
                String name = (String) pool[in.readUnsignedShort()];
                String descriptor = (String) pool[in.readUnsignedShort()];
                if (kind == 1) {
                    result.functions
                            .computeIfAbsent(name, k -> new ArrayList<>())
                            .add(sizes(descriptor));
                }
                for (int a = in.readUnsignedShort(); a > 0; a--) {
                    String attribute = (String) pool[in.readUnsignedShort()];
                    int length = in.readInt();
                    if (attribute.equals("ConstantValue") && descriptor.equals("I")) {
                        result.constants.put(name, (Integer) pool[in.readUnsignedShort()]);
                    } else {
                        in.skipNBytes(length);
                    }
                }
            }
        }
        return result;
    }

    /** Texts and ints; the rest is skipped. */
    private static Object[] pool(DataInputStream in) throws IOException {
        Object[] pool = new Object[in.readUnsignedShort()];
        for (int i = 1; i < pool.length; i++) {
            int tag = in.readUnsignedByte();
            switch (tag) {
                case 1 -> pool[i] = in.readUTF();
                case 3 -> pool[i] = in.readInt();
                case 5, 6 -> {
                    in.skipNBytes(8);
                    i++; // these take two places
                }
                case 7, 8, 16, 19, 20 -> in.skipNBytes(2);
                case 15 -> in.skipNBytes(3);
                default -> in.skipNBytes(4);
            }
        }
        return pool;
    }

    /** Of {@code (ILorg/…;[J)I}: 4, 8, 8. */
    private static List<Integer> sizes(String descriptor) {
        List<Integer> sizes = new ArrayList<>();
        for (int i = 1; descriptor.charAt(i) != ')'; i++) {
            char c = descriptor.charAt(i);
            while (descriptor.charAt(i) == '[') {
                i++;
            }
            if (descriptor.charAt(i) == 'L') {
                i = descriptor.indexOf(';', i);
            }
            sizes.add(
                    switch (c) {
                        case 'B', 'Z' -> 1;
                        case 'S', 'C' -> 2;
                        case 'I', 'F' -> 4;
                        default -> 8;
                    });
        }
        return sizes;
    }
}
