// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Parameters that one kernel steps: of one dtype and device, with one weight decay and rate. The lists go side by side. */
final class Group {
    final List<Slot> slots;
    final List<Tensor> params;
    final List<List<Tensor>> states = new ArrayList<>();
    final List<Tensor> master;
    final List<Tensor> steps;
    final double weightDecay;
    /** What times the optimiser's learning rate is that of these. */
    final double rate;
    /** The parameters' versions when the masters last agreed with them. */
    int[] versions;

    private record Kind(DType dtype, Device device, double weightDecay, double rate) {}

    /** A group, or the part of one that has gradients. */
    Group(List<Slot> slots) {
        this.slots = slots;
        params = slots.stream().map(Slot::tensor).toList();
        steps = slots.stream().map(Slot::step).toList();
        Slot first = slots.get(0);
        weightDecay = first.weightDecay();
        rate = first.rate();
        for (int k = 0; k < first.states().size(); k++) {
            int which = k;
            states.add(slots.stream().map(s -> s.states().get(which)).toList());
        }
        master = first.master() == null
                ? List.of()
                : slots.stream()
                        .map(s -> java.util.Objects.requireNonNull(s.master()))
                        .toList();
        versions = new int[params.size()];
        java.util.Arrays.fill(versions, -1); // so that masters are compared before the first step
    }

    /** Groups of these, with their counts of steps in one tensor each, so that they can be read at once. */
    static List<Group> of(List<Slot> slots) {
        Map<Kind, List<Slot>> ofKind = new LinkedHashMap<>();
        for (Slot s : slots) {
            Kind kind = new Kind(s.tensor().dtype(), s.tensor().device(), s.weightDecay(), s.rate());
            ofKind.computeIfAbsent(kind, k -> new ArrayList<>()).add(s);
        }
        List<Group> groups = new ArrayList<>();
        ofKind.values().forEach(same -> {
            Tensor counts = Tensor.stack(same.stream().map(Slot::step).toList(), 0);
            List<Slot> counted = new ArrayList<>();
            for (int i = 0; i < same.size(); i++) {
                counted.add(same.get(i).withStep(counts.at(i)));
            }
            groups.add(new Group(counted));
        });
        return groups;
    }

    Device device() {
        return params.get(0).device();
    }

    void agree() {
        for (int i = 0; i < versions.length; i++) {
            versions[i] = params.get(i).version();
        }
    }

    /** Where somebody else wrote a parameter, its master follows; where it rounds to the parameter anyway, it stays. */
    void refreshMasters() {
        for (int i = 0; i < master.size(); i++) {
            Tensor p = params.get(i);
            if (p.version() != versions[i]) {
                Tensor m = master.get(i);
                Tensor same = m.to(p.dtype()).eq(p);
                m.copy_(Tensor.where(same, m, p.to(m.dtype())));
            }
        }
    }

    /** The part that has gradients. */
    Group with(List<@Nullable Tensor> grads) {
        List<Slot> part = new ArrayList<>();
        for (int i = 0; i < grads.size(); i++) {
            if (grads.get(i) != null) {
                part.add(slots.get(i));
            }
        }
        return part.size() == slots.size() ? this : new Group(part);
    }
}
