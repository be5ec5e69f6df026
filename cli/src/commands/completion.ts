import { defineCommand, EXIT } from "@aviary/shared/commands/command.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

export const completionCommand = defineCommand({
  name: "completion",
  summary: "Print a completion script for a shell",
  details: "The script completes commands, options, their values and file names for a program called `aviary`.",
  args: {
    shell: {
      description: "The shell",
      presence: "required",
      choices: SHELLS,
      parse: (text: string) => text as (typeof SHELLS)[number],
    },
  },
  options: {},
  examples: [
    'bash: eval "$(aviary completion bash)"         in ~/.bashrc',
    'zsh:  eval "$(aviary completion zsh)"          in ~/.zshrc, after compinit',
    "fish: aviary completion fish | source          in ~/.config/fish/config.fish",
  ],
  run: async ({ args, io }) => {
    const { COMPLETION_SCRIPTS } = await import("../completion/scripts.ts");
    io.stdout.write(COMPLETION_SCRIPTS[args.shell]);
    return EXIT.success;
  },
});
