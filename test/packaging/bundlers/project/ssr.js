import { main } from "./main.mjs";

main().then((found) => console.log(JSON.stringify(found)));
