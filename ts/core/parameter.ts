import { fail } from "./errors.js";
import { sameNumbers } from "./geometry.js";
import { showShape } from "./show.js";
import { checkTensor, liveView, Tensor, tensorOf } from "./tensor.js";

/**
 * A tensor with a gradient of its own: a layer's weight or bias.
 *
 * @example
 * bn.forward(x);
 * bn.backward(dy);
 * bn.weight;         // → Parameter([3]) { 1, 1, 1 }
 * bn.weight?.grad;   // → Tensor([3]) { 1, 3, 5 }
 */
export class Parameter extends Tensor {
  override readonly [Symbol.toStringTag]: string = "Parameter";

  /**
   * Sum of the gradients since `zeroGrad`, in the same shape; `null` before the first.
   * Setting it to `null` has the next `backward` make a new one.
   *
   * @throws BatchNormError `dtype`, `disposed`, `foreign-kernel`, `shape-mismatch`, `overlap`
   *   unless it is set to a contiguous tensor of its own memory, in the parameter's shape
   *
   * @example
   * bn.forward(x);
   * bn.backward(dy);
   * const { weight } = bn;
   * const step = weight?.grad?.data.map((g) => -0.1 * g);   // → Float32Array [-0.1, -0.3, -0.5]
   * if (step) weight?.set(weight.data.map((w, i) => w + step[i]));
   */
  get grad(): Tensor | null {
    return tensorOf(checkTensor(this, "this").grad);
  }

  set grad(value: Tensor | null) {
    const parameter = liveView(this, ".grad");
    const view = value === null ? null : liveView(value, "grad");
    if (view) {
      const { port } = parameter.allocation;
      if (view.allocation.port !== port) fail("foreign-kernel", "grad is of another kernel");
      if (!sameNumbers(view.shape, parameter.shape) || !view.contiguous) {
        fail(
          "shape-mismatch",
          `grad must be a contiguous tensor of ${parameter.size} values, ` +
            `${showShape(parameter.shape)}, got ${showShape(view.shape)}`,
        );
      }
      if (view.allocation === parameter.allocation)
        fail("overlap", "grad shares the parameter's memory");
    }
    if (parameter.grad) parameter.grad.isGrad = false;
    parameter.grad = view;
    if (view) view.isGrad = true;
  }

  /**
   * Gives up the parameter and its gradient. A layer does so with its own when it is disposed.
   *
   * @example
   * bn.weight?.dispose();
   * bn.forward(x);   // throws disposed
   */
  override dispose(): void {
    checkTensor(this, "this").grad?.dispose();
    super.dispose();
  }
}
