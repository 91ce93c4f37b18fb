/** Where `npm run bench:native-setup` puts the virtual environment of the native contestants. */
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../../", import.meta.url);

export const ENVIRONMENT = fileURLToPath(new URL("target/native", ROOT));
export const PYTHON = `${ENVIRONMENT}/bin/python`;
/** What the environment was made from, written when it is complete. */
export const STAMP = `${ENVIRONMENT}/requirements.txt`;
export const REQUIREMENTS = fileURLToPath(new URL("requirements.txt", import.meta.url));
