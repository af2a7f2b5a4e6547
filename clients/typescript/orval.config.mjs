// What `make client` generates: one function for each operation, and a type for each schema.
export default {
  kluis: {
    input: "../openapi.json",
    output: {
      target: "src/kluis.ts",
      client: "fetch",
      mode: "single",
      override: {
        mutator: { path: "src/transport.ts", name: "transport", extension: ".js" },
        useDates: false,
        fetch: { forceSuccessResponse: true }, // the transport throws whatever is not a success
      },
    },
  },
};
