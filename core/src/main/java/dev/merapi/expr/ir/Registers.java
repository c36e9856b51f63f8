// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;

/**
 * Orders values and assigns registers. What depends on no input comes first and keeps its registers, so an interpreter
 * computes it once a run; all stores come last, so that an output may lie over an input. A result never shares the
 * register of an operand, and a register number has one type.
 */
final class Registers {
    /** What the native interpreter has: plain Java runs what takes more. */
    static final int LIMIT = 64;

    private final List<Value> order = new ArrayList<>();
    private final Set<Value> placed = new HashSet<>();
    private final Map<Value, Integer> needs = new HashMap<>();
    private final Map<Value, Boolean> uniform = new HashMap<>();

    private Registers() {}

    record Allocation(List<Instruction> instructions, int prologue, List<RegType> registers) {}

    static Allocation allocate(List<Value> roots) {
        Allocation allocation = allocate(roots, true);
        return allocation.registers.size() > LIMIT ? allocate(roots, false) : allocation;
    }

    /** @param ahead whether what depends on no input comes first; else it is computed where it is needed, each time */
    private static Allocation allocate(List<Value> roots, boolean ahead) {
        Registers registers = new Registers();
        Set<Value> seen = new HashSet<>();
        if (ahead) {
            roots.forEach(root -> registers.placeUniform(root, seen));
        }
        int prologue = registers.order.size();
        roots.forEach(registers::place);
        return registers.assign(roots, prologue);
    }

    private void placeUniform(Value value, Set<Value> seen) {
        if (isUniform(value)) {
            place(value);
        } else if (seen.add(value)) {
            value.operands.forEach(operand -> placeUniform(operand, seen));
        }
    }

    private boolean isUniform(Value value) {
        Boolean done = uniform.get(value);
        if (done == null) {
            done = !value.is(Opcode.LOAD);
            for (Value operand : value.operands) {
                done &= isUniform(operand);
            }
            uniform.put(value, done);
        }
        return done;
    }

    /** Depth first, the operand that needs more registers first. */
    private void place(Value value) {
        if (!placed.add(value)) {
            return;
        }
        List<Value> operands = new ArrayList<>(value.operands);
        operands.sort((a, b) -> Integer.compare(need(b), need(a)));
        operands.forEach(this::place);
        order.add(value);
    }

    private int need(Value value) {
        Integer done = needs.get(value);
        if (done == null) {
            List<Integer> operands = new ArrayList<>();
            for (Value operand : value.operands) {
                operands.add(need(operand));
            }
            operands.sort((a, b) -> b - a);
            done = 1;
            for (int k = 0; k < operands.size(); k++) {
                done = Math.max(done, operands.get(k) + k);
            }
            needs.put(value, done);
        }
        return done;
    }

    private Allocation assign(List<Value> roots, int kept) {
        int ids = 1 + order.stream().mapToInt(value -> value.id).max().orElse(-1);
        int[] lastUse = lastUses(roots, kept, ids);
        int[] register = new int[ids];
        List<Instruction> instructions = new ArrayList<>();
        List<RegType> types = new ArrayList<>();
        Map<RegType, PriorityQueue<Integer>> free = new EnumMap<>(RegType.class);
        for (int i = 0; i < order.size(); i++) {
            Value value = order.get(i);
            Integer dst = pool(free, value).poll();
            if (dst == null) {
                dst = types.size();
                types.add(value.resultType());
            }
            register[value.id] = dst;
            instructions.add(instruction(value, register));
            for (Value operand : new HashSet<>(value.operands)) {
                if (lastUse[operand.id] == i) {
                    pool(free, operand).add(register[operand.id]);
                }
            }
        }
        for (int k = 0; k < roots.size(); k++) {
            Value root = roots.get(k);
            instructions.add(new Instruction(Opcode.STORE, root.resultType(), -1, register[root.id], -1, -1, k));
        }
        return new Allocation(List.copyOf(instructions), kept, List.copyOf(types));
    }

    /** The step after which each value's register is free. */
    private int[] lastUses(List<Value> roots, int kept, int ids) {
        int[] lastUse = new int[ids];
        for (int i = 0; i < order.size(); i++) {
            for (Value operand : order.get(i).operands) {
                lastUse[operand.id] = i;
            }
        }
        order.subList(0, kept).forEach(value -> lastUse[value.id] = Integer.MAX_VALUE);
        roots.forEach(value -> lastUse[value.id] = Integer.MAX_VALUE);
        return lastUse;
    }

    private static PriorityQueue<Integer> pool(Map<RegType, PriorityQueue<Integer>> free, Value value) {
        return free.computeIfAbsent(value.resultType(), type -> new PriorityQueue<>());
    }

    private static Instruction instruction(Value value, int[] register) {
        int[] operands = {-1, -1, -1};
        for (int k = 0; k < value.operands.size(); k++) {
            operands[k] = register[value.operands.get(k).id];
        }
        return new Instruction(
                value.op, value.type, register[value.id], operands[0], operands[1], operands[2], value.imm);
    }
}
