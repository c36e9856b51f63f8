// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

/**
 * What each jar of natives provides. Nobody calls it: a module that provides what another one uses is taken into a program
 * with it, so that natives are found on a module path, too, without a flag.
 */
public interface Natives {}
