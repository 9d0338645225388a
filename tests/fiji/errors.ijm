// One command that goes wrong, told by the argument; nothing behind it may run.
print("begins");
argument = split(getArgument(), ";");
if (argument[0] == "image") open(argument[1]);
if (argument.length > 2) run("Predict Images...", argument[2]);
else run("Predict Images...");
print("goes on");
