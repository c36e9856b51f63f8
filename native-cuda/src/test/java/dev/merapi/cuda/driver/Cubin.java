// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;

/** What the assembler notes in an image about each of its kernels. */
final class Cubin {
    /** @param stack bytes of local memory of each thread: arrays that are indexed, and registers that were spilled */
    record Use(int registers, int stack) {}

    private static final int FRAME_SIZE = 0x11;
    private static final int REGISTERS = 0x2f;
    /** Of an attribute: a 4-byte value, or a size and as many bytes. */
    private static final int SIZED = 4;

    private final ByteBuffer elf;

    private Cubin(byte[] image) {
        elf = ByteBuffer.wrap(image).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** By kernel, and by function that was not inlined. */
    static Map<String, Use> uses(byte[] image) {
        return new Cubin(image).uses();
    }

    private Map<String, Use> uses() {
        int sections = elf.getShort(0x3c);
        int names = start(elf.getShort(0x3e));
        int symbols = -1;
        int strings = -1;
        int info = -1;
        for (int s = 0; s < sections; s++) {
            String name = text(names + elf.getInt(header(s)));
            symbols = name.equals(".symtab") ? s : symbols;
            strings = name.equals(".strtab") ? s : strings;
            info = name.equals(".nv.info") ? s : info;
        }
        assertTrue(symbols >= 0 && strings >= 0 && info >= 0, "the image says nothing about its kernels");
        Map<String, Use> uses = new TreeMap<>();
        int end = start(info) + (int) elf.getLong(header(info) + 0x20);
        for (int at = start(info); at < end; ) {
            int attribute = elf.get(at + 1);
            boolean sized = elf.get(at) == SIZED;
            if (sized && (attribute == FRAME_SIZE || attribute == REGISTERS)) {
                int symbol = elf.getInt(at + 4);
                int value = elf.getInt(at + 8);
                String name = text(start(strings) + elf.getInt(start(symbols) + 24 * symbol));
                Use frame = attribute == FRAME_SIZE ? new Use(0, value) : new Use(value, 0);
                uses.merge(name, frame, (a, b) -> new Use(a.registers + b.registers, a.stack + b.stack));
            }
            at += sized ? 4 + elf.getShort(at + 2) : 4;
        }
        assertTrue(!uses.isEmpty(), "the image says nothing about its kernels");
        return uses;
    }

    private int header(int section) {
        return (int) elf.getLong(0x28) + section * 64;
    }

    private int start(int section) {
        return (int) elf.getLong(header(section) + 0x18);
    }

    private String text(int at) {
        int end = at;
        while (elf.get(end) != 0) {
            end++;
        }
        return new String(elf.array(), at, end - at, StandardCharsets.ISO_8859_1);
    }
}
