export * from "./kluis.js";
export * from "./replay.js";
export * from "./transport.js";
