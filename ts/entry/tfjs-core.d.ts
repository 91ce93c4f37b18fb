/** What `tfjs.ts` imports: typed by what is used of it, so that ours compile without tfjs. */
declare module "@tensorflow/tfjs-core" {
  export const getKernel: (...args: never[]) => unknown;
  export const registerKernel: (...args: never[]) => unknown;
  export const registerGradient: (...args: never[]) => unknown;
  export const batchNorm: (...args: never[]) => unknown;
  export const serialization: object;
}
